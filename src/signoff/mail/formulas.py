"""What people write around an answer in every mail, in the languages that we know (floor 3)."""

from __future__ import annotations

import re
from typing import Final

CLOSING: Final = re.compile(
    r"""(?:with\ )?(?:(?:my|our)\ )?(?:very\ )?(?:best|kind|kindest|warm|warmest|many)?\ ?(?:personal\ )?
          (?:regards|rgds|rgs)
      | (?:all\ (?:the|my)\ |very\ )?best(?:\ wishes(?:\ for\ .{3,30})?)? | (?:kind|warm|good)\ wishes | warmly | br | kr
      | thanks?(?:\ you)?\ (?:and|&)\ (?:best\ |kind\ )?(?:regards|wishes) | happy\ (?:monday|friday|holidays|new\ year|easter|weekend) | merry\ christmas | ttfn | vbr
      | cheers | (?:all\ )?good\ wishes | sincerely(?:\ yours)? | yours(?:\ (?:sincerely|faithfully|truly|ever))? | respectfully(?:\ yours)?
      | take\ care | (?:talk|speak|see\ you|talk\ to\ you)\ soon | xo(?:xo)* | x{2,4} | ttyl | love | cordially
      | (?:have|enjoy|wishing\ you)\ an?\ (?:\w+\ )?(?:day|evening|weekend|week|one)(?:\ ahead)?
      | looking\ forward\ to\ (?:hearing\ from\ you|your\ reply)
      | (?:mit\ )?(?:freundlich|best|herzlich|lieb|viel|schön|sonnig)?(?:st)?(?:e|en|em)?\ ?
        (?:gr(?:ü|ue)(?:ß|ss)(?:e|en|li)?|gru(?:ß|ss))(?:\ (?:aus|vom|von|nach)\ .{2,30})? | herzlichst
      | (?:\w+\ ){0,2}\w*gr(?:ü|ue)(?:ß|ss)en? | (?:frohe|schöne)\ (?:weihnachten|ostern|feiertage|pfingsten) | (?:einen\ )?guten\ rutsch | alles\ gute | bg
      | bis\ (?:denne?|dahin|nachher|gleich|die\ tage|(?:über)?morgen|\w+tag|nächste\ woche) | gez | i\.\ ?[av]
      | (?:ihre?|eure?|deine?) | [mlvhs]\.?f?\.?g\.? | hochachtungsvoll | bis\ (?:bald|dann|später) | servus | tschüss?
      | (?:einen\ )?(?:schöne[ns]?|angenehme[ns]?)\ (?:tag|abend|wochenende|woche|restwoche|feierabend)(?:\ noch)?
      | (?:bien\ )?cordialement | cdlt | cdt | (?:bien\ )?à\ (?:vous|toi) | à\ (?:bientôt|plus|demain) | amicalement
      | (?:joyeux\ noël|joyeuses\ fêtes|bonnes\ (?:fêtes|vacances)(?:\ .{2,20})?|meilleurs\ vœux|a\+|b[àa][tv]|amitiés) | (?:avec\ )?mes\ (?:\w+\ ){0,2}(?:salutations|remerciements)(?:\ \w+)?
      | bon(?:ne)?\ (?:après-midi|continuation|appétit)
      | (?:très\ |bien\ )?(?:sincère|respectueuse)ment | (?:bonne|belle|excellente)\ fin\ de\ (?:journée|semaine) | bises | bisous | salutations(?:\ distinguées)?
      | (?:mes\ |nos\ )?(?:sincères|meilleures|cordiales|respectueuses)\ salutations
      | .{0,50}l['\u2019]expression\ de\ (?:mes|nos)\ .{3,60}
      | (?:bonne|belle|excellente)\ (?:journée|soirée|semaine|fin\ de\ semaine|réception)(?:\ à\ (?:vous|toi|tous))? | bon\ week-?end
      | (?:un\ |mis\ )?(?:cordial(?:es)?\ |afectuoso\ )?salud(?:o|os|ines)(?:\ cordial(?:es)?)? | (?:muy\ )?atentamente | atte | att
      | (?:feliz|felices|buen|excelente|lind[oa])\ (?:día|tarde|semana|finde|fin\ de\ semana|navidad|fiestas|año) | s[ld]{1,2}s | besitos | cariños | bendiciones | hasta\ (?:luego|pronto|mañana|el\ \w+) | nos\ vemos
      | quedo\ a\ la\ espera(?:\ de\ .{3,40})? | quedo\ a\ su\ disposición | (?:un\ )?(?:fuerte\ )?abrazos?(?:\ fuerte)? | besos
      | (?:que\ tengas?\ )?(?:un\ )?buen(?:as?)?\ (?:día|tarde|fin\ de\ semana)
      | (?:un\ |i\ )?(?:(?:cordiali|distinti|migliori|cari|caro|cordiale|tanti)\ )?salut[io] | cordialmente | cordialità
      | (?:con\ )?(?:i\ )?(?:più\ |miei\ )?(?:cordiali|migliori|distinti|sentiti|cari)\ saluti | con\ stima | affettuosamente | (?:tanti\ )?(?:abbracci|baci|bacioni) | a\ domani | ci\ sentiamo | ti\ saluto
      | buon[aeo]?\ (?:feste|natale|pasqua|vacanze|anno) | buona\ (?:giornata|serata)\ a\ tutti
      | buon[ao]?\ (?:giornata|serata|lavoro|weekend|fine\ settimana) | a\ presto | ciao | un\ abbraccio | in\ fede
      | atenciosamente | (?:com\ os\ (?:meus\ )?(?:melhores\ )?|melhores\ |os\ meus\ )?cumprimentos
      | (?:um\ )?(?:grande\ |forte\ )?abraços? | abs | (?:um\ )?beij(?:o|os|inhos) | respeitosamente | cordiais\ saudações | saudações
      | bj[os]s? | vlw | cumps | sds | até\ (?:amanhã|mais|segunda) | (?:bo[mnas]+|feliz|ótim[oa]|uma\ boa)\ (?:dia|tarde|semana|feriado|festas|natal|páscoa|final\ de\ semana|fim\ de\ semana)
      | bom\ (?:dia|fim\ de\ semana|trabalho) | até\ (?:breve|logo|já)
      | (?:met\ )?(?:vriendelijke?|hartelijke?|lieve|warme)?\ ?gro(?:et|eten|etjes|ete) | mvg | hgr | gr | fijn(?:e)?\ (?:dag|weekend|avond)
      | (?:\w+e\ )groeten(?:\ uit\ .{2,20})? | (?:met\ )?\w+e\ groet(?:en|jes)? | gr?tz | grtjs | m\.?\ ?vr\.?\ ?gr | vr\.?\ ?gr | dikke\ kus | liefs | hartelijks | hoogachtend | tot\ (?:morgen|dan|snel|ziens|straks|\w+dag) | (?:fijne|prettige?)\ (?:feestdagen|dag|avond|weekend|vakantie)
      | z\ (?:wyrazami\ (?:uznania|sympatii)|szacunkiem) | łączę\ (?:pozdrowienia|wyrazy\ szacunku) | serdeczności | pozdro? | pzdr | ściskam | uściski | buziaki | ukłony | na\ razie | trzymaj(?:cie)?\ się | do\ (?:usłyszenia|zobaczenia|jutra)
      | \w+ie\ pozdrawiam | pozdrowienia\ z\ \w+ | (?:(?:dziękuję\ i\ )?życzę\ )?(?:miłego|dobrego|udanego|spokojnego)\ (?:dnia|popołudnia|wieczoru|tygodnia|weekendu|urlopu) | (?:wesołych|spokojnych)\ świąt | szczęśliwego\ nowego\ roku
      | z\ (?:wyrazami\ szacunku|poważaniem) | (?:serdecznie\ )?pozdrawiam(?:\ serdecznie)? | (?:serdeczne\ |z\ )?pozdrowienia(?:mi)? | miłego\ (?:dnia|weekendu)
      | (?:med\ )?(?:vänliga?|bästa|varma|hjärtliga)?\ ?hälsning(?:ar)? | allt\ gott | mvh | vh | ha\ en\ (?:bra|trevlig|god)\ .{2,15}
      | (?:med\ )?(?:ve(?:nn|n)lig|bedste|kærlig|beste|god)?\ ?hils(?:en|ner|ener|ninger) | (?:de\ )?bedste\ hilsner | hav\ en\ god\ .{2,15}
      | (?:\w+in\ |ystävällisin\ |parhain\ |terveisin\ )?terveisin | terkuin | terv(?:eisin)? | t | yt | hyvää\ (?:päivän\ jatkoa|viikonloppua)
      | (?:s|se)\ (?:přátelským\ |srdečným\ )?pozdrav(?:em|om) | s\ úct(?:ou|ou) | (?:hezk|pěkn|krásn|pekn|príjemn)[ýé]\ (?:den|deň|zbytek\ dne|víkend) | hezký\ .{2,15}(?:týdne|dne) | mějte\ se\ hezky
      | üdvözlettel | üdv(?:özlet)? | tisztelettel | szép\ (?:hetet|hétvégét) | (?:szép|további\ szép)\ napot
      | cu\ (?:stimă|respect|drag) | (?:o\ )?zi\ (?:bună|frumoasă) | toate\ cele\ bune
      | с\ (?:наилучшими\ пожеланиями|уважением|уважение|поштовање|почит) | всего\ (?:доброго|хорошего) | хорошего\ (?:вам\ )?дня | до\ связи
      | з\ (?:повагою|найкращими\ побажаннями) | гарного\ дня | (?:сърдечни\ )?поздрави | срдачно | щиро\ ваш[аі]? | срдачан\ поздрав | поздрав | құрметпен | з\ павагай | хүндэтгэсэн
      | (?:srdačan|lijep|lep|topel|s)?\ ?(?:pozdrav|poštovanjem|spoštovanjem|štovanjem) | lp | puno\ pozdrava | lijepi?\ pozdravi? | lep\ (?:pozdrav|dan)
      | με\ (?:εκτίμηση|φιλικούς\ χαιρετισμούς|τιμή) | φιλικά | καλή\ (?:συνέχεια|ημέρα) | χαιρετισμούς
      | say(?:g|ğ)ılarım(?:la|ızla) | iyi\ (?:çalışmalar|günler|akşamlar) | selamlar | sevgiler | kolay\ gelsin | hörmətlə
      | lugupidamisega | parimate\ soovidega | ar\ cieņu | pagarbiai | geros\ dienos | su\ pagarba | jauku\ dienu
      | (?:með\ )?(?:bestu\ )?kveðj(?:a|u|ur)(?:\ bestu)? | bestu\ kveðjur | le\ (?:gach\ dea-ghuí|meas) | cofion(?:\ .{3,15})? | yn\ gywir
      | (?:ben\ )?cordialment | (?:moltes\ |cordials\ )?salutacions(?:\ cordials)? | salutacións | saúdos | un\ saúdo | atentament | agur(?:\ bero\ bat)? | ongi\ izan
      | me\ (?:respekt|nderime) | përshëndetje | tislijiet | wako(?:\ .{3,15})? | (?:lubos\ na\ )?gumagalang | (?:vriendelike\ )?groete
      | salam(?:\ hangat|\ hormat)? | hormat\ (?:kami|saya) | yang\ benar | trân\ trọng | chúc\ .{2,25} | thân(?:\ (?:mến|ái))? | kính\ (?:thư|chào)
      | (?:מ)?בברכה(?:\ .{2,12})? | בכבוד\ רב | תודה\ ובברכה | יום\ טוב | המשך\ .{2,15} | כל\ טוב
      | (?:مع\ )?(?:أطيب\ |خالص\ |فائق\ )?(?:التحيات|التحية|تحياتي|الاحترام|التقدير)(?:\ .{2,15})? | مع\ .{3,30} | وتفضلوا\ .{3,40}
      | (?:با|ضمن)\ (?:احترام|تشکر|سپاس)(?:\ .{2,15})? | ارادتمند | نیازمند | والسلام | آپ\ کا | مخلص
      | सादर | भवदीय | शुभकामनाओं\ सहित | ধন্যবাদান্তে | শুভেচ্ছান্তে | இப்படிக்கு | அன்புடன்
      | ด้วยความนับถือ | ขอแสดงความนับถือ | ด้วยความเคารพ | ขอบคุณ(?:ครับ|ค่ะ|คะ)? | პატივისცემით | საუკეთესო\ სურვილებით | հարգանքով
      | かしこ | 拝 | 謹白 | では(?:また)? | それでは(?:また)? | 取り急ぎ | (?:では)?(?:よろしく|宜しく)です | よろです | (?:良い|よい)(?:週末|一日|休日)を(?:お過ごしください)? | .{0,6}ご自愛ください(?:ませ)? | (?:それでは)?失礼(?:いた)?します
      | (?:以上[\u3001\uff0c])?(?:顺|順|敬|即|恭)?(?:祝|颂|頌)\ ?(?:您|你|大家)?.{1,6} | 此[复復] | 谨[启上] | 商祺 | 顺致(?:敬意)? | (?:周末|工作|节日|新年|假期)(?:愉快|快乐) | 安好
      | 敬具 | 取り急ぎ.{0,10}(?:まで|ます) | 以上(?:です)? | (?:以上[\u3001\uff0c]?)?(?:どうぞ|何卒)?(?:宜しく|よろしく)(?:お願い(?:します|致します|いたします|申し上げます))? | (?:草々|早々)
      | (?:麻烦|麻煩|辛苦|拜托|拜託)(?:您|你|大家)?了 | 此致(?:敬礼)? | 敬礼 | 敬禮 | 祝好 | 顺颂.{2} | 順頌.{2} | 祝(?:您|你)?(?:工作顺利|生活愉快|一切顺利|工作順利|一切順利|商祺) | 敬上 | 敬祝.{0,6} | 敬頌.{0,4} | 드림 | .{2,4}\ (?:드림|올림) | 안녕히\ 계세요 | 좋은\ 하루\ (?:되세요|보내세요) | 수고하세요""",  # noqa: RUF001 - letters of other scripts
    re.VERBOSE | re.IGNORECASE,
)
"""What stands between a text and a name, on a line of its own: above it, there is the text."""

THANKS: Final = re.compile(
    r"""(?:many\ |with\ )?thanks?(?:\ you)?(?:\ (?:so\ much|again|a\ lot|very\ much|in\ advance))? | th(?:an)?x | ty | ta | much\ appreciated
      | (?:(?:vielen|besten|herzlichen|lieben)\ )?dank(?:e)?(?:\ (?:im\ voraus|dir|ihnen|schön))? | merci(?:\ (?:beaucoup|bien|d['\u2019]avance|à\ vous))?
      | (?:muchas\ |mil\ )?gracias(?:\ de\ antemano)? | grazie(?:\ mille|\ in\ anticipo)? | (?:muito\ )?obrigad[oa] | grat[oa]
      | (?:alvast\ |hartelijk\ )?bedankt | dank\ (?:u|je)(?:\ wel)? | (?:z\ góry\ )?dziękuję | dzięki | tack(?:\ på\ förhand)? | mange\ takk?(?:\ for\ .{2,15})? | takk?\ for\ .{2,15} | takk
      | kiitos(?:\ etukäteen)? | díky | (?:předem\ )?děkuji | ďakujem | (?:заранее\ )?спасибо | дякую | благодаря | hvala(?:\ unaprijed|\ lepa)?
      | teşekkürler | teşekkür\ ederim | köszönöm | mulțumesc | ευχαριστώ | aitäh | paldies | ačiū | takk | gràcies | terima\ kasih | cảm\ ơn | asante
      | (?:どうも)?ありがとうございま(?:す|した) | (?:非常|十分)?(?:感谢|感謝)(?:您|配合|支持|大家)? | (?:谢谢|謝謝)(?:您|你|大家)? | 多[谢謝](?:配合)? | 感恩 | 감사합니다 | 고맙습니다 | תודה(?:\ רבה)? | شكرا(?:\ لك)? | با\ تشکر | धन्यवाद | ขอบคุณ(?:ครับ|ค่ะ)?""",
    re.VERBOSE | re.IGNORECASE,
)
"""A closing above one's own name; without a name below it may be all that somebody writes."""

COURTESY: Final = re.compile(
    r"""(?:(?:please|pls)\ )?(?:let\ me\ know|feel\ free|do(?:\ not|n['\u2019]t)\ hesitate)\b.{0,40}\b(?:questions|contact|reach\ out)\b.{0,30}
      | any\ (?:\w+\ )?questions?[,:]\ .{0,40} | (?:if|should)\ you\ have\ any\ (?:further\ )?questions\b.{0,50} | i\ look\ forward\ to\ (?:hearing\ from\ you|your\ (?:reply|feedback))
      | (?:i\ )?remain\ at\ your\ disposal.{0,40}
      | (?:für|bei)\ (?:weitere[nr]?\ )?(?:rück)?fragen\b.{0,40}\b(?:verfügung|melden|jederzeit)\b.{0,20}
      | ich\ freue\ mich\ auf\ (?:ihre|eure|deine|die)\ (?:antwort|rückmeldung)
      | (?:je\ |nous\ )?(?:reste|restons|demeure)\b.{0,20}\bà\ (?:votre|ta)\ (?:entière\ )?disposition.{0,40} | dans\ l['\u2019]attente\ de\ (?:votre|vous|ta)\b.{0,30}
      | n['\u2019]hésitez?\ pas\ à\ (?:me|nous)\b.{0,40}
      | (?:quedo|quedamos)\ (?:muy\ |siempre\ )?(?:atent[oa]s?|(?:al\ )?pendientes?|a\ (?:tu|su|vuestra)\ disposición)(?:(?!\bque\b).){0,40} | cualquier\ (?:duda|consulta)\b.{0,50}
      | (?:resto|rimango|restiamo|rimaniamo)\ (?:a\ (?:\w+\ )?disposizione|in\ attesa\ di\ (?:un\ )?(?:vostr|tu|su|riscontr)\w+).{0,40} | per\ (?:qualsiasi|ogni|eventuali)\ (?:dubbi\w?|chiariment\w)\b.{0,40}
      | (?:fico|ficamos|permaneço)\ (?:à|no|ao)\ (?:\w+\ )?(?:disposição|dispor|aguardo).{0,50} | qualquer\ dúvida\b.{0,50} | aguardo\ (?:o\ )?(?:seu\ |vosso\ )?(?:retorno|contato)
      | (?:ik|wij|we)\ hoor(?:en)?\ (?:het\ )?graag(?:\ van\ (?:u|je|jullie))? | (?:bij|voor|mocht\ (?:u|je))\ (?:nog\ )?vragen\b.{0,50}
      | w\ razie\ (?:jakichkolwiek\ |dodatkowych\ )?(?:pytań|wątpliwości)\b.{0,50} | pozosta(?:ję|jemy)\ (?:do\ (?:\w+\ )?dyspozycji|w\ kontakcie)
      | [^\u3002\uff1f?]{0,30}(?<![をでにへ])(?:(?:宜しく|よろしく)(?:お願い|御願い|おねがい)|よしなに)[^\u3002\uff1f?]{0,10}
      | 如(?:果|您|你)?有?(?:任何|其他|其它)?(?:问题|問題|疑问|疑問).{0,12}(?:联系|聯繫|聯絡|联络|沟通|告知).{0,3} | (?:期待|静候|靜候)(?:您|你)?的?(?:回复|回覆|佳音|反馈)""",
    re.VERBOSE | re.IGNORECASE,
)
"""
A whole sentence with which people end a mail: that they wait, are at hand, or ask for kindness.

It may be an answer (`よろしくお願いします` asks for something), so it is doubted, not left out.
"""

GREETING: Final = re.compile(
    r"""(?:hi(?:ya)?|hello|hey|dear|greetings|howdy|g['\u2019]day|(?:good\ )?(?:morning|afternoon|evening)(?=(?:\ all|\ everyone|\ team|\ both|\ folks)?[,!.\ ]*\Z)|(?:all|team|folks|everyone)(?=[,!:]\ *\Z)|to\ whom\ it\ may\ concern|good\ (?:morning|afternoon|evening|day)
      | hallo|moin(?:\ moin)?|servus|grüezi|guten\ (?:tag|morgen|abend)|grü(?:ß|ss)\ gott|hallöchen|ihr\ lieben|mahlzeit|tach|n?['\u2019]?\ ?abend|schönen\ guten\ (?:tag|morgen|abend)|sehr\ geehrte[rs]?|werte[rs]?(?=\ (?-i:[A-ZÄÖÜ]))|liebe[rs]?(?!\ güte)
      | bonjour(?:\ madame,?\ monsieur|\ à\ tou\w+(?:\ et\ à\ tou\w+)?)?|monsieur(?:\ le\ \w+)?|bonsoir|salut|coucou|madame(?:,?\ monsieur)?|messieurs|mesdames|ch(?:er|ère)s?(?=\ (?:(?-i:[A-ZÀ-Ý])|coll?[eè]g|conf|tou|tutt|tod[oa]s|ami[cg]|client|équipe|equipe|senhor|signor|monsieur|madame))|bjr|re-?bonjour|maître|docteur
      | hola|buen(?:os|as)?\ (?:días?|tardes|noches)|(?:muy\ )?buenas(?:\ (?:tardes|noches))?|muy\ señor(?:a|es|as)?\ (?:mío|mía|nuestro)s?|apreciad[oa]s?|distinguid[oa]s?|compañer[oa]s|(?:ing|lic|dra?|sra?)\.(?=\ \w+[,:])|estimad[oa]s?|querid[oa]s?
      | buon\ ?giorno|buondì|buona\ ?sera|salve|gentil[ei]|gentilissim[aeio]|spett(?:abile|\.le)|egregi[oa]?|buon\ pomeriggio|gent\.\w{1,4}|egr\.|ill\.\w{2}|carissim[oaei]|ciao
      | olá|oi|bo[ma]\ (?:dia|tarde|noite)|prezad[oa]s?|car[oaie]s?(?=\ (?:(?-i:[A-ZÀ-Ý])|coll?[eè]g|conf|tou|tutt|tod[oa]s|ami[cg]|client|équipe|equipe|senhor|signor|monsieur|madame))|ex\.?m[oa]s?|ilm[oa]s?|caríssim[oa]s?|boas(?:\ (?:tardes|noites))?|viva|e\ aí
      | beste|geachte|hoi|dag|l\.s\.|lieve|waarde(?=\ (?:collega|heer|mevrouw))|mijne\ heren|heer|mevrouw|goe(?:ie|de)\ ?(?:morgen|middag|navond|dag|avond)|goede(?:morgen|middag|navond|nmorgen|ndag|nmiddag)
      | dzień\ dobry|witam|cześć|hejka|siemk?a|witaj(?:cie)?|drog[ia]|drodzy|kochani|dobry\ wieczór|pani[e]?|koleżanki\ i\ koledzy|szanown[aiy]
      | dobr[ýé]\ (?:den|deň|ráno|odpoledne)|ahoj|vážen[áýéí]|milý
      | hej(?:san)?|god\ ?(?:morgon|morgen|dag|kväll|aften|kveld)|kæra?re?|kjære|kära|bästa
      | hei|moi|terve|hyvää\ (?:päivää|huomenta|iltaa)|arvoisa
      | tisztelt|kedves|jó\ (?:napot|reggelt|estét)|szia|sziasztok|üdvözlöm
      | bun[ăa]|stimat[ăe]|drag[ăi]
      | добрый\ (?:день|вечер)|доброе\ утро|здравствуйте|привет|уважаем\w+|коллеги
      | добр(?:ого\ (?:дня|ранку|вечора)|ий\ день)|вітаю|шановн\w+|здравейте|добър\ ден|добар\ дан|поштовани|здраво
      | dobar\ dan|dobro\ jutro|poštovan[iao]|pozdravljeni|zdravo|živjo|bok
      | καλ[ηή]μ[εέ]ρα|καλησπέρα|γεια(?:\ σας|\ σου)?|αγαπητ\w+|αξιότιμ\w+
      | merhaba|selam(?:lar)?|günaydın|iyi\ günler|sayın|salam
      | שלום(?:\ רב)?|בוקר\ טוב|היי|السلام\ عليكم|مرحب[اًا]+|صباح\ الخير|تحية\ طيبة|السيد|سلام|با\ سلام
      | नमस्(?:ते|कार)|प्रिय|สวัสดี\S*|เรียน|(?:xin\ )?chào|kính\ gửi|selamat\ (?:pagi|siang|sore|malam)|halo|apa\ kabar
      | [\u3005\u4e00-\u9fff\u30a0-\u30ffA-Za-zの\ \u3000]{0,20}(?:(?<![仕同模多有異一])(?:様|さま)|(?<!く)さん|先生|[部課社係]長|各位|御中)
      | (?:関係|担当)(?:各位|者様)|拝啓|こんばんは|はじめまして|(?:大変|いつも(?:大変)?|平素(?:より|は)?(?:大変)?)?お世話になり?(?:ます|っており?ます|っています)|お疲れ(?:様|さま)でございます
      | (?:いつも|(?:早速の?)?(?:ご|お)?(?:連絡|返信|返事|メール)(?:を?いただき|をありがとう|)?)ありがとうございます|突然の?ご連絡失礼いたします
      | ご担当者(?:各位|様|さま)|関係者各位|(?:皆|みな)(?:様|さま)
      | お世話(?:になって(?:おり|い)ます|(?:様|さま)です)|いつも.{0,6}お世話に.{2,10}|お疲れ(?:様|さま)です|こんにちは|おはようございます
      | (?:您|你|大家|各位(?:同事|领导|老师)?)好|各位(?:同事|领导|老师)?|各位\w{1,4}(?=[:,：，])|(?:老师|老師|同事|同学|同學|朋友|领导|伙伴)们好|(?:您|你|大家|各位|诸位)?[早上中下晚]{1,2}[午上]?好|(?:尊敬|亲爱|親愛)的[\u4e00-\u9fff]{1,8}|敬[启啟]者|(?:[\u4e00-\u9fff]|欧阳|司马|上官|诸葛)(?:經理|经理|老师|老師|主任|先生|女士|小姐|主管)(?:您好|你好|好)?|(?:[王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦方邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵钱严覃武戴莫孔汤張陳劉楊黃趙吳孫馬鄭謝許馮鄧蕭葉蔣鍾盧譚陸賈鄒錢嚴龔]|欧阳|司马|上官|诸葛)(?:总|工)(?:您好|你好|好)?|老[师師]好|小[\u4e00-\u9fff](?:您|你)?好|안녕하(?:세요|십니까)
      | tere|labdien|sveik[iaos]+|laba\ (?:diena|rytą)|gerbiam\w+|hall?ó|sæl[lia]?r?|góðan\ (?:daginn|dag)|bon(?:a)?\ (?:dia|tarda|tardes)
      | kaixo|egun\ on|გამარჯობა|բարև\S*|сәлем\S*|habari|hujambo|magandang\ \w+|mabuhay|dia\ dhuit|goeie\ (?:dag|môre))(?!\w)""",  # noqa: RUF001 - letters of other scripts
    re.VERBOSE | re.IGNORECASE,
)
"""How a greeting begins; what follows names whom it greets."""

OPENING: Final = re.compile(
    r"""(?:(?:hi|hello|dear)\ \w+\ ?[,-]\ )?(?:i\ )?(?:hope|trust)\ (?:you(?:\ are|['\u2019]re|\ had)|this|all|everything)\b.{0,25}\b(?:well|good|weekend|holiday|break)
      | (?:many\ )?(?:thanks|thank\ you)(?:\ very\ much)?\ for\ (?:your|the)\ (?:e-?mail|mail|message|note|update|reminder)
      | (?:ich\ )?hoffe,?\ .{0,20}\bgut | (?:vielen\ |besten\ |herzlichen\ )?danke?\ für\ (?:ihre|deine|eure|die)\ (?:e-?mail|mail|nachricht|info|information|erinnerung)
      | j['\u2019]espère\ que\ .{0,30}\bbien | (?:merci|je\ vous\ remercie)\ (?:beaucoup\ )?(?:pour|de)\ (?:votre|ton|ce)\ (?:message|mail|courriel|e-?mail) | je\ fais\ suite\ à\ .{3,25}(?:mail|message|courriel)
      | (?:hola,?\ )?(?:\w+,?\ )?(?:espero\ que\ .{0,25}\bbien|¿(?:qué\ tal|cómo\ estás?)\?) | (?:muchas\ )?gracias\ por\ (?:tu|su|el)\ (?:correo|mensaje|e-?mail|mail)
      | spero\ che\ .{0,25}\bbene | (?:la\ |ti\ |vi\ )?(?:grazie|ringrazio)\ per\ (?:la|il)\ (?:\w+\ )?(?:e-?mail|mail|messaggio)
      | (?:(?:olá|oi|bom\ dia|boa\ tarde),\ )?(?:tudo\ bem\?|espero\ que\ .{0,25}\bbem) | (?:muito\ )?obrigad[oa]\ pel[oa]\ (?:\w+\ )?(?:e-?mail|mensagem)
      | (?:hopelijk|ik\ hoop\ dat)\ .{0,25}\bgoed(?:\ .{0,12})? | (?:be)?dankt?\ voor\ (?:je|uw|jullie|de)\ (?:e-?mail|mail|bericht)
      | mam\ nadzieję,?\ że\ .{0,25}\bdobrze | dziękuję\ za\ (?:wiadomość|maila?|e-?mail)
      | (?:邮件|郵件|来信)(?:已收到|收悉)[\uff0c]?(?:谢谢)? | (?:感谢|感謝|谢谢)(?:您|你)的(?:来信|來信|邮件|郵件) | 希望(?:您|你|大家)?一切(?:都|安)?好""",
    re.VERBOSE | re.IGNORECASE,
)
"""The sentence of small talk that stands below a greeting, above what a mail has to say."""

OFFERS: Final = re.compile(
    r"""\bhesitate\b | \bfeel\ free\b | at\ your\ disposal | look(?:ing)?\ forward\ to | \breach\ (?:out|me)\b | \bget\ in\ touch\b | (?:give\ me\ a|just)\ (?:shout|ring|call)
      | \b(?:if|should|in\ case|any)\b.{0,25}\b(?:you|questions|problems)\b.{0,30}\b(?:questions?|queries|need|require|else|shout|ring|call|me|phone) | (?:if|in\ case)\b.{0,14}(?:unclear|anything\ else) | in\ case\ of\ questions | happy\ to\ (?:discuss|chat|help)
      | thank(?:s|\ you)\ (?:again\ |in\ advance\ )?for\ (?:your|all)\b | (?:have|enjoy)\ (?:a|the)\ (?:great|nice|lovely|long)\b | \bspeak\ soon\b | shout\ if
      | \b(?:für|bei|falls|sollten|wenn|haben\ sie|noch)\b.{0,20}\b(?:rück)?fragen\b | \brückfragen\ gerne | zur\ verfügung | \bzöger(?:n|t|e)\b | \bfreue\ mich\ auf | (?:vielen\ )?dank(?:e)?\ (?:im\ voraus\ )?für\ (?:ihre|ihr|eure?|deine?|die)\b
      | wenn\ .{0,12}(?:unklar|noch\ was)\b | telefonisch\ erreichbar | bleib(?:en\ sie|t)\ gesund | (?:wünsche?\b.{0,20}\b(?:tag|woche|wochenende|abend)|(?:tag|wochenende|woche)\ (?:wünscht|allen)) | danke\ euch
      | disposition | à\ votre\ écoute | hésitez?\ pas | (?:en\ cas\ de|pour\ toute|si\ vous\ avez\ des|si\ tu\ as\ des)\ (?:autre\ )?questions? | dans\ l['\u2019]attente | au\ plaisir\ d | en\ vous\ (?:remerciant|souhaitant) | vous\ en\ souhaitant
      | (?:merci|remercie)\b.{0,20}\b(?:d['\u2019]avance|avance|compréhension|aide)\b | agréer | je\ vous\ souhaite | si\ besoin\.?\Z
      | disposición | no\ dude[sn]?\ en | (?:cualquier|alguna|si\ tiene\w?)\ (?:cosa|duda|consulta|pregunta|alguna)\b | qued(?:o|amos)\ (?:\w+\ )?(?:atent|pendient|al\ pendiente)(?!.*\bque\b) | sin\ (?:otro\ particular|más\ por) | (?:gracias|agradezco|agradeciendo)\b.{0,20}\b(?:su|tu|antemano|vuestr[ao])\b
      | (?:espero|a\ la\ espera\ de)\ (?:su|tu|sus|tus)\b | reciban?\ un | que\ (?:tenga|pase)[sn]?\ (?:un|buen)
      | disposizione | non\ esit(?:i|ate|are)\b | per\ (?:qualsiasi|qualunque|ogni|eventuali|ulteriori)\ (?:cosa|dubbi|necessità|inform|chiarim|domand) | in\ caso\ di\ (?:domande|dubbi) | se\ (?:avete|hai|ha)\ (?:domande|dubbi|bisogno) | se\ serve\ altro
      | (?:in\ )?attes?[ao]\b.{0,20}\briscontr | attendo\ .{0,20}riscontro | ringrazi(?:o|ando)\b | grazie\ (?:ancora\ )?per\ (?:la|l['\u2019])\ ?(?:collabor|disponib|aiut|attenz) | (?:vi|le|ti)\ auguro | porg(?:o|ere)\b
      | disposição | ao\ (?:vosso\ |seu\ )?dispor | não\ hesite | (?:qualquer|caso\ de|alguma)\ (?:coisa|dúvidas?)\b | se\ precisar | fico\ (?:no\ aguardo|a\ aguardar) | aguardo\ (?:o\ |a\ )?(?:seu|sua|vossa|retorno|resposta) | sem\ (?:mais|outro\ assunto)\b.{0,10}\bmomento
      | (?:obrigad[oa]|agradeço|agradecid[oa])\b.{0,20}\b(?:atenção|ajuda|compreensão)\b | desde\ já\ agradeço | (?:desejo|tenham?)\ (?:um|uma|a)\b.{0,20}\b(?:dia|semana|tarde)
      | \b(?:bij|voor|mocht|heb|heeft|als\ (?:je|u|er))\b.{0,16}\bvragen\b | hoor(?:en)?\ (?:het\ )?graag | graag\ tegemoet | als\ er\ (?:nog\ )?iets\ is | (?:aarzel|schroom)\ niet | neem\ (?:bij\ vragen\ )?gerust | bel\ gerust | in\ afwachting | zie\ uit\ naar | (?:be)?dankt?\ voor\ (?:je|uw|de)\ (?:medewerking|moeite|hulp)
      | voldoende\ te\ hebben | fijne\ dag\ verder | ik\ wens\ (?:je|u)
      | w\ (?:razie|przypadku)\b.{0,15}\b(?:pytań|wątpliwości) | (?:jeśli|jeżeli|gdyby)\b.{0,16}\bpytania | jakby\ (?:co|coś)\b | gdyby\ coś\b | dyspozycji | (?:czekam|oczekuję|licząc)\ na\b.{0,14}(?:odpowiedź|informację) | wdzięczn[aey]\ za | (?:dziękuję|dziękujemy)\ za\ (?:pomoc|współpracę|wyrozumiałość|odpowiedź) | życzę\b | zapraszam\ do\ kontaktu
      | ご(?:不明|質問|不便)(?:な|など|点|の)\S*(?:ござい|あり|あれ|等) | 何か(?:ござい|あれば|あり) | ご(?:査収|確認|検討|返信|連絡|回答)(?:を)?(?:ください|お待ち|のほど|お願い) | 取り急ぎ | まずは.{0,10}まで | お忙しいところ | お手数 | (?:(?<!を)お願い|失礼)(?:いた|申し上げ)します | ありがとうございます
      | [如若有](?:果|您)?.{0,6}(?:问题|問題|疑问|疑問|不清楚).{0,12}(?:联系|聯|致电|來電|来电|告知|沟通|找我|电话) | 请(?:知悉|查收|查阅) | 以上[\uff0c] | 期待 | 盼复 | (?:感谢|感謝|谢谢).{1,10} | 配合 | 祝(?:您|你|大家)""",
    re.VERBOSE | re.IGNORECASE,
)
"""What a sentence speaks of that offers help, waits for an answer, thanks or wishes well."""

DEAR: Final = re.compile(
    r"""dear | liebe[rs]?(?!\ güte) | werte[rs]? | chère?s? | chers? | estimad[oa]s? | querid[oa]s? | apreciad[oa]s? | distinguid[oa]s? | car[oaie]s? | gentil[ei]
      | lieve | beste | waarde | ha | drog(?:i|a|ie) | milý | kedves | drag[ăi] | kära | bästa | kjære | kæra?re?""",
    re.VERBOSE | re.IGNORECASE,
)
"""What greets only somebody: alone, or before another word, it may be an answer's."""

PEOPLE: Final = re.compile(
    r"""(?:[aà]\ |an\ )?(?:all | team | everyone | everybody | both | guys | gang | ladies | gentlemen | colleagues? | friends | sir | madam | customers? | approvals | folks
      | alle | kolleg\w+ | zusammen | leute | jungs | mädels | frau | herr\w* | collègues? | ami(?:e)?s? | tous | toutes | équipe | madame | monsieur | client\w*
      | tod[oa]s | compañer[oa]s? | colegas? | equipo | chic[oa]s | amig[oa]s? | señor\w* | cliente\w* | tutt[ie] | ragazz[ie] | collegh[ie] | collega | amic[io] | signor\w* | dott\w*
      | equipa | equipe | pessoal | gente | galera | turma | senhor\w* | allemaal | allen | collega['\u2019]?s | mevrouw | meneer | jongens | mensen | heer | relatie | klant
      | wszyscy | państwo | pani\w* | koleżanki | koledzy | zespole)\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""Whom people greet without a name."""

NOTICE: Final = re.compile(
    r"""\b(?:
        to\ unsubscribe | unsubscribe\ (?:from|here|link)? | manage\ your\ subscription | mailing\ list\b.*@ | you\ (?:have\ )?received?\ this\ (?:message|e-?mail)\ because
      | view/reply\ online | groups\.io | groups\.google\.com | to\ view\ this\ discussion | pour\ se\ désabonner | mailinglis\w+\ abbestellen | darse\ de\ baja
      | registered\ (?:in\ (?:england|scotland|ireland|wales)|office|address|number) | company\ (?:no|number|reg)\b | vat\ (?:no|number|id)
      | (?:sitz\ der\ gesellschaft|amtsgericht|registergericht|geschäftsführ(?:er|ung)|ust-?id|hrb\s*\d) | p\.?\s?iva | siret\b | partita\ iva
      | (?:before|avant\ d['\u2019]|antes\ de|prima\ di|vor\ dem|voordat)\b.{0,20}(?:print|imprimir|imprimer|stampare|druck|afdruk)\w*
      | circular\ 230 | equal\ opportunity\ employer | privacy\ (?:policy|notice|statement) | informationen\ zum\ datenschutz | follow\ us\ on
      | my\ working\ hours\ may | i\ work\ flexibl[ey] | (?:book|schedule)\ (?:a\ (?:meeting|call)|time)\ with\ me | book\ a\ meeting:
      | (?:digitally|electronically)\ signed | sender\ notified\ by | delivered\ by\ .{2,40}\bgateway | encrypted\ (?:with|by)\ \w+
      | (?:please\ )?excuse\ (?:any\ )?(?:typos|brevity|errors) | forgive\ (?:any\ )?(?:typos|brevity) | typed\ with\ thumbs | secured\ with\ \w+
      | проверено\ антивирусом\b | (?:\w+\ ){0,3}(?:avast|avg|mcafee|eset|mimecast|mailscanner|kaspersky|norton|sophos|bitdefender|dr\.web|clamav|f-secure|trend\ ?micro|proofpoint|barracuda)\b.{0,80}(?:virus|scan|check|security|software|anti|scann|\.com|\.ru|\.$)
      | (?:virus|вирус|wirus|scanned|checked|проверено|vérifi|geprüft|comprobad)\w*\b.{0,80}\b(?:avast|avg|mcafee|eset|mimecast|mailscanner|kaspersky|norton|sophos|bitdefender|dr\.web|clamav|f-secure)
      | (?:virus-free|virenfrei|sans\ virus|libre\ de\ virus|privo\ di\ virus|bez\ wirusów|wolny\ od\ wirusów|без\ вирусов|virusvrij|virusfri|sem\ vírus|livre\ de\ vírus)
      | (?:reply|write\ your\ reply|type\ your\ reply|please\ reply|respond)\b.{0,12}\babove\ this\ line | oberhalb\ dieser\ (?:zeile|linie)
      | report\ suspicious | zjqcmqryfpfptbanner\w+ | learn\ why\ this\ is\ important
    ) | ウイルスフリー|ウイルス(?:スキャン|チェック) | 無毒 | 无病毒""",
    re.VERBOSE | re.IGNORECASE,
)
"""What stands in a line that is below every mail of somebody, or that a server or list puts there."""

LEGAL: Final = re.compile(
    r"""recipient | addressee | destinatari[oae] | destinataire | empfänger | geadresseerde | adresat | получател
      | rechtlich\ geschützt | exclusive\ de | exclusivamente | esclusivamente | exclusivement | uitsluitend\ bestemd
      | gizli | luottamuksel | fortroli | důvěrn | bizalmas | confidențial | поверителн | конфіденц | konfidents | komunikační
      | 機密 | 秘密情報 | 保密 | attachments? | allegat[io] | pièces\ jointes | anexos? | anhäng | bijlagen | załącznik""",
    re.VERBOSE | re.IGNORECASE,
)
"""What disclaimers speak of in other words than `DISCLAIMER` knows."""

SENT: Final = re.compile(
    r"""\b(?:sent|gesendet|geschickt|versendet|verschickt|envoyée?|enviad[oa]|enviat|inviat[oa]|spedit[oa]|verzonden|verstuurd
      |wysłan[eoay]|skickat|sänt|sendt|lähetetty|odesláno|posláno|odoslan[éo]|küldve|trimis|poslano|poslato|saadetud|išsiųsta
      |sūtīts|nosūtīts|dikirim|gönderildi|gửi|отправлено|отослано|послано|надіслано|відправлено|изпратено|послато
      |στάλθηκε|εστάλη|נשלח|أرسلت?|إرسال|ارسال)\b | 送信 | 发自 | 發自 | 发送 | 傳送 | 寄出 | 보냄 | 보냈 | भेजा | ส่งจาก""",
    re.VERBOSE | re.IGNORECASE,
)
"""What a line speaks of that a phone puts below every mail."""

ANSWER: Final = re.compile(
    r"""(?:
        ok(?:ay|é)? | (?:yes|no|nope|sure|fine|ja|nein|oui|non|s[ií]|sim|não|nee|tak|nie|はい|いいえ|是|否|不|好)(?=\W*\Z|,)
      | (?:dis)?approv\w* | reject\w* | accept\w* | den(?:y|ied) | declin\w* | refus\w*
      | genehmig\w* | freigegeben | freigabe | abgelehnt | ablehn\w* | einverstanden | zurückgewiesen
      | approuv\w* | d['\u2019]accord | refusé\w* | rejeté\w* | valid[ée]\w*
      | aprob\w* | aprov\w* | rechaz\w* | rejeit\w* | recus\w* | de\ acuerdo | acuerdo
      | approvat\w* | approvo | respint\w* | rifiut\w* | d['\u2019]accordo
      | goedgekeurd | akkoord | afgewezen | afgekeurd | geweigerd
      | looks\ good | go\ ahead | lgtm | alles\ (?:klar|ok|in\ ordnung) | passt | c['\u2019]est\ (?:bon|ok)
      | todo\ bien | adelante | va\ bene | tudo\ (?:certo|bem|ok) | pode\ (?:mandar|enviar)
      | prima | (?:is|ziet\ er)\ goed | goed\ zo | w\ porządku
      | zatwierdz\w* | akceptuj\w* | zgoda | zgadzam | odrzuc\w* | odmawiam
    )\b
      | 承認 | 却下 | 同意 | 批准 | 通过 | 通過 | 驳回 | 駁回 | 拒绝 | 拒絕 | 可以 | 不行 | 否決 | 没问题 | 沒問題 | 問題(?:ありません|ないです)""",
    re.VERBOSE | re.IGNORECASE,
)
"""How a line begins that says yes or no, whatever stands below it: nobody ends every mail so."""

BOILERPLATE: Final = re.compile(
    r"""disclaimer\b | the\ information\ (?:contained|in\ this) | (?:protección|protection|proteção)\ d\w+\ d | ai\ sensi\ d | aviso\ (?:de\ confid|legal) | aan\ dit\ bericht | administratorem\ danych | haftungsausschluss
      | (?:muss|bitte\ denken|think|please\ consider|n['\u2019]imprimez|pensez\ à|antes\ de\ imprimir|prima\ di\ stampare|denk\ aan\ het\ milieu|zanim\ wydrukujesz)\b.{0,70}(?:mail|message|environ|umwelt|wiadomość|correo|milieu)
      | (?:please\ excuse|apologies\ for|sorry\ for|perdón\ por|disculp\w+|desculpe\w*|désolé\w*|scusate)\b.{0,25}(?:brevity|typos|brevedad|erro\w*|fautes|errori)
      | (?:typed|written|escrito|scritto|getypt|geschrieben|pisane|getippt)\ (?:on|from|do|desde|no|dal|da|op|auf|vom|z)\ .{2,30}
      | (?:このメールに|本メール)は.{0,40}(?:機密|宛先|営業|記載) | ※?本メール | (?:携帯|スマホ|スマートフォン|外出先)から.{0,20}失礼
      | 免责声明 | 免責聲明 | .{0,8}请勿打印 | 请考虑环境 | 来自.{0,12}邮[箱件]""",
    re.VERBOSE | re.IGNORECASE,
)
"""How a notice begins that may be somebody's words: it is doubted."""

DECIDES: Final = re.compile(
    r"""\b(?:send|ship|wait|hold|change|shorten|cut|fix|wrong|price|date|figures?|headline|title|long|short|perfect|great|discuss|tomorrow|monday|works|sounds|granted|permission|consent|signed\ off|agreed|proceed|cleared|green\ light|thumbs\ up|objections?|good\ to\ go|happy\ with|all\ good|fine\ (?:by|with)|not|no|yes|ok
      |passt|raus|falsch|lang|kurz|preis|datum|überschrift|titel|ändern|nicht|nein|ja|(?:sieht|finde\ ich|alles|ist)\ gut|perfekt|super|klar|warten|klären|gefällt|gerne?|kontaktieren|prüfen|einwänd\w*|bedenken|erteilt|erlaubt|zustimm\w+|stimme\ zu|grünes\ licht|geht\ klar|in\ ordnung
      |bon\ (?:pour|à)|envoye[rz]|corriger|titre|prix|date|parfait|pas|oui|fausse?|long|attende[zr]|allez-y|très\ bien|feu\ vert|préfère|attendre|rien|ok|accord|autoris\w+
      |envia\w*|mand\w+|cambi\w+|título|precio|fecha|perfecto|(?:todo|está|parece)\ bien|vale|todavía|esper[ae]\w*|largo|dale|listo|conforme|prefiero|autoriz\w+|objecion\w*|visto\ bueno|luz\ verde|acuerdo
      |inviat?e|procede\w*|prezzo|data|titolo|perfetto|(?:va|me|sta|tutto)\ bene|ottimo|ancora|aspettate|lungo|sbagliat\w|errat\w|nulla|confermo|contattate|autorizz\w+|obiezion\w*|benestare|nulla\ osta|via\ libera|accordo
      |tudo\ bem|acordo|pode(?:m)?|enviar|mudem|preço|perfeito|ainda|esperem|longo|errad\w|ótimo|confirmo|nada|seguir|aval|avanç\w+|objeç\w+
      |verstuur\w*|prijs|klopt|titel|aanpassen|(?:helemaal|betreft|er|is)\ goed|niet|nog|wacht|lang|kort|mooi|doe\ maar|geen|klant|bezwa\w+|toestemming|verleend|akkoord|groen\ licht
      |wysłać|wysyłać|cena|tytuł|zmienić|jeszcze|poczekajcie|długie|wygląda\ dobrze|zła|błędn\w|super|uwag|potwierdzam|skontaktować|zgod[aęy]|zgadzam|akcept\w+|zastrzeżeń|zielone\ światło)\b
      | 送[らっ] | 価格 | 変更して | 待って | すぎ | 間違 | いいと | 進めて | 大丈夫 | 了解 | 承知 | 確認しましたか | 質問があり | 連絡して | 許可 | 構いません | 問題な | 異存 | 差し支え | 修正を | 内容で | 違い | 発送 | OK
      | [发發]送 | [发發]了 | 不 | 价格 | 修改 | 错 | 等到 | 太 | 看起来 | 意见 | 确认 | 確認 | 就这样 | 好的 | 没问题 | 沒問題 | 办理 | 辦理 | 可行 | 有疑[问問]。 | 客户""",
    re.VERBOSE | re.IGNORECASE,
)
"""Words of a line that decides, orders or finds fault, and that no closing holds."""
