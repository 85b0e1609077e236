-- A run is written anew several times while its state stays as it was. So a large state lies in a
-- row of its own, which is written only when it changes: it is a piece of the run's body, cut out
-- at the byte `state_at`, and put back there by each read. A body that is whole has no `state_at`.

CREATE TABLE run_states (
    run_id TEXT NOT NULL PRIMARY KEY,
    state  BLOB NOT NULL
);

ALTER TABLE runs ADD COLUMN state_at INTEGER;

CREATE TRIGGER run_state_put_back AFTER UPDATE ON runs
    WHEN OLD.state_at IS NOT NULL AND NEW.state_at IS NULL
BEGIN
    DELETE FROM run_states WHERE run_id = NEW.run_id;
END;
