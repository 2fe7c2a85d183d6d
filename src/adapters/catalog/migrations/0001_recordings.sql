-- One row for each recording. Only TEXT and BIGINT, so that the same statements serve every database: times are Unix
-- milliseconds, lists are JSON, truth is 0 or 1.
CREATE TABLE recordings (
    record_id   TEXT   NOT NULL PRIMARY KEY,
    state       TEXT   NOT NULL,
    owner       TEXT,
    room        TEXT,
    title       TEXT,
    started_ms  BIGINT NOT NULL,
    ended_ms    BIGINT,
    ready_ms    BIGINT,
    mime_type   TEXT   NOT NULL,
    chunks      BIGINT NOT NULL,
    missing     TEXT   NOT NULL,
    error_code  TEXT,
    error       TEXT,
    key         TEXT,
    poster      TEXT,
    duration_ms BIGINT,
    size_bytes  BIGINT,
    sha256      TEXT,
    codecs      TEXT,
    complete    BIGINT,
    gaps        TEXT,
    work        TEXT,
    version     BIGINT NOT NULL,
    fence       BIGINT NOT NULL,
    -- Title, room and name in small letters, for the search: databases differ in which letters they know.
    words       TEXT   NOT NULL
);

CREATE INDEX recordings_by_start ON recordings (started_ms DESC, record_id);
CREATE INDEX recordings_by_room  ON recordings (room, started_ms DESC, record_id);
CREATE INDEX recordings_by_owner ON recordings (owner, started_ms DESC, record_id);
CREATE INDEX recordings_by_state ON recordings (state, started_ms DESC, record_id);
CREATE INDEX recordings_by_key    ON recordings (key);
CREATE INDEX recordings_by_poster ON recordings (poster);
