-- Under one claim, what was known later stands, whatever comes last.
ALTER TABLE recordings ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- Names are in order of their bytes, on every database; "binary" is a collation of SQLite, and made in PostgreSQL before.
DROP INDEX recordings_by_start;
DROP INDEX recordings_by_room;
DROP INDEX recordings_by_owner;
DROP INDEX recordings_by_state;
CREATE INDEX recordings_by_start ON recordings (started_ms DESC, record_id COLLATE "binary");
CREATE INDEX recordings_by_room  ON recordings (room, started_ms DESC, record_id COLLATE "binary");
CREATE INDEX recordings_by_owner ON recordings (owner, started_ms DESC, record_id COLLATE "binary");
CREATE INDEX recordings_by_state ON recordings (state, started_ms DESC, record_id COLLATE "binary");

-- What an owner's videos take, read from the index alone.
CREATE INDEX recordings_by_owner_size ON recordings (owner, size_bytes);

-- What may go, by how it ended and since when. The expressions are those of the statement, word for word.
CREATE INDEX recordings_by_end ON recordings (
    (CASE WHEN state = 'ready' AND complete = 1 THEN 'complete' WHEN state IN ('ready', 'failed') THEN 'partial' END),
    (CASE WHEN state = 'ready' AND complete = 1 THEN ready_ms ELSE COALESCE(ended_ms, started_ms) END),
    record_id COLLATE "binary"
);

-- Events that wait for the application's webhook, written together with the rows that they tell of.
CREATE TABLE outbox (
    record_id TEXT COLLATE "binary" NOT NULL,
    fence     BIGINT NOT NULL,
    stage     BIGINT NOT NULL,
    event_id  TEXT   NOT NULL,
    body      TEXT   NOT NULL,
    PRIMARY KEY (record_id, fence, stage)
);
