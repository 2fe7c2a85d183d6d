-- Recordings that were deleted, kept for a day: who has not heard of it, such as a Redis that has gone back in time, does not bring
-- their rows back. A name may be another recording's by now; that one began at another time.
CREATE TABLE deleted (
    record_id  TEXT COLLATE "binary" NOT NULL,
    started_ms BIGINT NOT NULL,
    deleted_ms BIGINT NOT NULL,
    PRIMARY KEY (record_id, started_ms)
);
CREATE INDEX deleted_by_time ON deleted (deleted_ms);
