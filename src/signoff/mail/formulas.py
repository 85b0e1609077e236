"""What people write around an answer in every mail, in the languages that we know (floor 3)."""

from __future__ import annotations

import re
from typing import Final

CLOSING: Final = re.compile(
    r"""(?:with\ )?(?:(?:my|our)\ )?(?:very\ )?(?:best|kind|kindest|warm|warmest|many)?\ ?(?:personal\ )?
          (?:regards|rgds|rgs)
      | (?:all\ (?:the|my)\ |very\ )?best(?:\ wishes)? | (?:kind|warm|good)\ wishes | warmly | br | kr
      | cheers | (?:all\ )?good\ wishes | sincerely(?:\ yours)? | yours(?:\ (?:sincerely|faithfully|truly|ever))? | respectfully(?:\ yours)?
      | take\ care | (?:talk|speak|see\ you|talk\ to\ you)\ soon | xo(?:xo)* | x{2,4} | ttyl | love | cordially
      | (?:have|enjoy|wishing\ you)\ an?\ (?:\w+\ )?(?:day|evening|weekend|week|one)(?:\ ahead)?
      | looking\ forward\ to\ (?:hearing\ from\ you|your\ reply)
      | (?:mit\ )?(?:freundlich|best|herzlich|lieb|viel|schön|sonnig)?(?:st)?(?:e|en|em)?\ ?
        (?:gr(?:ü|ue)(?:ß|ss)(?:e|en|li)?|gru(?:ß|ss))(?:\ (?:aus|vom|von|nach)\ .{2,30})? | herzlichst
      | (?:ihre?|eure?|deine?) | [mlvhs]\.?f?\.?g\.? | hochachtungsvoll | bis\ (?:bald|dann|später) | servus | tschüss?
      | (?:einen\ )?(?:schöne[ns]?|angenehme[ns]?)\ (?:tag|abend|wochenende|woche|restwoche|feierabend)(?:\ noch)?
      | (?:bien\ )?cordialement | cdlt | cdt | (?:bien\ )?à\ (?:vous|toi) | à\ (?:bientôt|plus|demain) | amicalement
      | (?:très\ |bien\ )?(?:sincère|respectueuse)ment | (?:bonne|belle|excellente)\ fin\ de\ (?:journée|semaine) | bises | bisous | salutations(?:\ distinguées)?
      | (?:mes\ |nos\ )?(?:sincères|meilleures|cordiales|respectueuses)\ salutations
      | .{0,50}l['\u2019]expression\ de\ (?:mes|nos)\ .{3,60}
      | (?:bonne|belle|excellente)\ (?:journée|soirée|semaine|fin\ de\ semaine|réception)(?:\ à\ (?:vous|toi|tous))? | bon\ week-?end
      | (?:un\ |mis\ )?(?:cordial(?:es)?\ |afectuoso\ )?salud(?:o|os|ines)(?:\ cordial(?:es)?)? | (?:muy\ )?atentamente | atte | att
      | quedo\ a\ la\ espera(?:\ de\ .{3,40})? | quedo\ a\ su\ disposición | (?:un\ )?(?:fuerte\ )?abrazos?(?:\ fuerte)? | besos
      | (?:que\ tengas?\ )?(?:un\ )?buen(?:as?)?\ (?:día|tarde|fin\ de\ semana)
      | (?:un\ |i\ )?(?:(?:cordiali|distinti|migliori|cari|caro|cordiale|tanti)\ )?salut[io] | cordialmente | cordialità
      | buon[ao]?\ (?:giornata|serata|lavoro|weekend|fine\ settimana) | a\ presto | ciao | un\ abbraccio | in\ fede
      | atenciosamente | (?:com\ os\ (?:meus\ )?(?:melhores\ )?|melhores\ |os\ meus\ )?cumprimentos
      | (?:um\ )?(?:grande\ |forte\ )?abraços? | abs | (?:um\ )?beij(?:o|os|inhos) | respeitosamente | cordiais\ saudações | saudações
      | bom\ (?:dia|fim\ de\ semana|trabalho) | até\ (?:breve|logo|já)
      | (?:met\ )?(?:vriendelijke?|hartelijke?|lieve|warme)?\ ?gro(?:et|eten|etjes|ete) | mvg | hgr | gr | fijn(?:e)?\ (?:dag|weekend|avond)
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
      | 敬具 | 取り急ぎ.{0,10}(?:まで|ます) | 以上(?:です)? | (?:以上[\u3001\uff0c]?)?(?:どうぞ|何卒)?(?:宜しく|よろしく)(?:お願い(?:します|致します|いたします|申し上げます))? | (?:草々|早々)
      | (?:麻烦|麻煩|辛苦|拜托|拜託)(?:您|你|大家)?了 | 此致(?:敬礼)? | 敬礼 | 敬禮 | 祝好 | 顺颂.{2} | 順頌.{2} | 祝(?:您|你)?(?:工作顺利|生活愉快|一切顺利|工作順利|一切順利|商祺) | 敬上 | 敬祝.{0,6} | 敬頌.{0,4} | 드림 | .{2,4}\ (?:드림|올림) | 안녕히\ 계세요 | 좋은\ 하루\ (?:되세요|보내세요) | 수고하세요""",  # noqa: RUF001 - letters of other scripts
    re.VERBOSE | re.IGNORECASE,
)
"""What stands between a text and a name, on a line of its own: above it, there is the text."""

THANKS: Final = re.compile(
    r"""(?:many\ |with\ )?thanks?(?:\ you)?(?:\ (?:so\ much|again|a\ lot|very\ much|in\ advance))? | th(?:an)?x | ty | ta | much\ appreciated
      | (?:(?:vielen|besten|herzlichen|lieben)\ )?dank(?:e)?(?:\ (?:im\ voraus|dir|ihnen|schön))? | merci(?:\ (?:beaucoup|bien|d['\u2019]avance|à\ vous))?
      | (?:muchas\ |mil\ )?gracias(?:\ de\ antemano)? | grazie(?:\ mille|\ in\ anticipo)? | (?:muito\ )?obrigad[oa] | grat[oa]
      | (?:alvast\ |hartelijk\ )?bedankt | dank\ (?:u|je)(?:\ wel)? | (?:z\ góry\ )?dziękuję | dzięki | tack(?:\ på\ förhand)? | (?:mange\ )?tak(?:k)?(?:\ for\ .{2,15})?
      | kiitos(?:\ etukäteen)? | díky | (?:předem\ )?děkuji | ďakujem | (?:заранее\ )?спасибо | дякую | благодаря | hvala(?:\ unaprijed|\ lepa)?
      | teşekkürler | teşekkür\ ederim | köszönöm | mulțumesc | ευχαριστώ | aitäh | paldies | ačiū | takk | gràcies | terima\ kasih | cảm\ ơn | asante
      | (?:どうも)?ありがとうございま(?:す|した) | 谢谢 | 謝謝 | 多谢 | 감사합니다 | 고맙습니다 | תודה(?:\ רבה)? | شكرا(?:\ لك)? | با\ تشکر | धन्यवाद | ขอบคุณ(?:ครับ|ค่ะ)?""",
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
    r"""(?:hi(?:ya)?|hello|hey|dear|greetings|to\ whom\ it\ may\ concern|good\ (?:morning|afternoon|evening|day)
      | hallo|moin(?:\ moin)?|servus|grüezi|guten\ (?:tag|morgen|abend)|sehr\ geehrte[rs]?|werte[rs]?|liebe[rs]?
      | bonjour(?:\ madame,?\ monsieur)?|bonsoir|salut|coucou|madame(?:,?\ monsieur)?|messieurs|mesdames|chère?s?
      | hola|buen(?:os|as)?\ (?:días?|tardes|noches)|estimad[oa]s?|querid[oa]s?
      | buon\ ?giorno|buondì|buona\ ?sera|salve|gentil[ei]|gentilissim[aeio]|spett(?:abile|\.le)|egregi[oa]?|ciao
      | olá|oi|bo[ma]\ (?:dia|tarde|noite)|prezad[oa]s?|car[oaie]s?|exm[oa]s?
      | beste|geachte|hoi|dag|goede(?:morgen|middag|navond|nmorgen|ndag|nmiddag)
      | dzień\ dobry|witam|cześć|szanown[aiy]
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
      | ご担当者(?:各位|様|さま)|関係者各位|(?:皆|みな)(?:様|さま)
      | お世話(?:になって(?:おり|い)ます|(?:様|さま)です)|いつも.{0,6}お世話に.{2,10}|お疲れ(?:様|さま)です|こんにちは|おはようございます
      | (?:您|你|大家|各位(?:同事|领导|老师)?)好|各位(?:同事|领导|老师)?|各位\w{1,4}(?=[:,：，])|早上好|下午好|尊敬的|안녕하(?:세요|십니까)
      | tere|labdien|sveik[iaos]+|laba\ (?:diena|rytą)|gerbiam\w+|hall?ó|sæl[lia]?r?|góðan\ (?:daginn|dag)|bon(?:a)?\ (?:dia|tarda|tardes)
      | kaixo|egun\ on|გამარჯობა|բարև\S*|сәлем\S*|habari|hujambo|magandang\ \w+|mabuhay|dia\ dhuit|goeie\ (?:dag|môre))(?!\w)""",  # noqa: RUF001 - letters of other scripts
    re.VERBOSE | re.IGNORECASE,
)
"""How a greeting begins; what follows names whom it greets."""

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
