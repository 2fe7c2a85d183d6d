-- Events that were taken, for as long as their recording has a row: one that is written again does not tell them again.
CREATE TABLE told (
    record_id TEXT COLLATE "binary" NOT NULL,
    fence     BIGINT NOT NULL,
    stage     BIGINT NOT NULL,
    PRIMARY KEY (record_id, fence, stage)
);
