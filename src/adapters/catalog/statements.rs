//! The statements, each a literal: nothing that came from outside is ever part of one.

/// Columns in the order in which a row is bound.
macro_rules! columns {
    () => {
        "record_id, state, owner, room, title, started_ms, ended_ms, ready_ms, mime_type, chunks, missing, \
         error_code, error, key, poster, duration_ms, size_bytes, sha256, codecs, complete, gaps, work, \
         version, fence, words, revision"
    };
}

/// Puts a row, unless there is one with a higher version, then fence, then revision (M-3). What comes from a ledger that has gone
/// back in time changes nothing: one that was deleted stays so, and one version that is ready does. Types are named where a database
/// cannot tell them from the columns.
pub(super) const PUT: &str = concat!(
    "INSERT INTO recordings (",
    columns!(),
    ") SELECT \
     CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS BIGINT), \
     CAST($7 AS BIGINT), CAST($8 AS BIGINT), CAST($9 AS TEXT), CAST($10 AS BIGINT), CAST($11 AS TEXT), \
     CAST($12 AS TEXT), CAST($13 AS TEXT), CAST($14 AS TEXT), CAST($15 AS TEXT), CAST($16 AS BIGINT), \
     CAST($17 AS BIGINT), CAST($18 AS TEXT), CAST($19 AS TEXT), CAST($20 AS BIGINT), CAST($21 AS TEXT), \
     CAST($22 AS TEXT), CAST($23 AS BIGINT), CAST($24 AS BIGINT), CAST($25 AS TEXT), CAST($26 AS BIGINT)
     WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE record_id = $1 AND started_ms = $6)
     ON CONFLICT (record_id) DO UPDATE SET
        state = excluded.state, owner = excluded.owner, room = excluded.room, title = excluded.title,
        started_ms = excluded.started_ms, ended_ms = excluded.ended_ms, ready_ms = excluded.ready_ms,
        mime_type = excluded.mime_type, chunks = excluded.chunks, missing = excluded.missing,
        error_code = excluded.error_code, error = excluded.error, key = excluded.key, poster = excluded.poster,
        duration_ms = excluded.duration_ms, size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
        codecs = excluded.codecs, complete = excluded.complete, gaps = excluded.gaps, work = excluded.work,
        version = excluded.version, fence = excluded.fence, words = excluded.words, revision = excluded.revision
     WHERE excluded.version > recordings.version
        OR (excluded.version = recordings.version
            AND (excluded.fence > recordings.fence
                OR (excluded.fence = recordings.fence AND excluded.revision >= recordings.revision))
            AND (excluded.state = 'ready' OR recordings.state <> 'ready'
                OR excluded.started_ms <> recordings.started_ms))"
);

/// One row.
pub(super) const GET: &str = concat!("SELECT ", columns!(), " FROM recordings WHERE record_id = $1");

/// Takes the row of the recording of this name away that began at $2.
pub(super) const DELETE: &str = "DELETE FROM recordings WHERE record_id = $1 AND started_ms = $2";

/// Marks the recording of this name that began at $2 as deleted, at $3.
pub(super) const MARK_DELETED: &str =
    "INSERT INTO deleted (record_id, started_ms, deleted_ms) VALUES ($1, $2, $3)
     ON CONFLICT (record_id, started_ms) DO NOTHING";

/// When the recording of this name that began at $2 was deleted.
pub(super) const WAS_DELETED: &str =
    "SELECT deleted_ms FROM deleted WHERE record_id = $1 AND started_ms = $2";

/// Forgets what was deleted before then.
pub(super) const FORGET_DELETED: &str = "DELETE FROM deleted WHERE deleted_ms < $1";

/// A page: $1 state, $2 room, $3 owner, $4 pattern, each null where anything fits; $5 and $6 where the page before
/// ended; $7 how many. The first condition is the one for which there is an index that is in the order of the page.
macro_rules! page {
    ($first:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM recordings WHERE ",
            $first,
            " AND (CAST($1 AS TEXT) IS NULL OR state = $1)
              AND (CAST($2 AS TEXT) IS NULL OR room = $2)
              AND (CAST($3 AS TEXT) IS NULL OR owner = $3)
              AND (CAST($4 AS TEXT) IS NULL OR words LIKE $4 ESCAPE '!')
              AND started_ms <= $5 AND (started_ms < $5 OR record_id COLLATE \"binary\" > $6)
             ORDER BY started_ms DESC, record_id COLLATE \"binary\" LIMIT $7"
        )
    };
}

/// Of all.
pub(super) const PAGE: &str = page!("1 = 1");
/// Of one state.
pub(super) const PAGE_OF_STATE: &str = page!("state = $1");
/// Of one room.
pub(super) const PAGE_OF_ROOM: &str = page!("room = $2");
/// Of one owner.
pub(super) const PAGE_OF_OWNER: &str = page!("owner = $3");

/// What the videos of an owner take. A sum is of another type than what it adds up, on some databases.
pub(super) const OWNER_BYTES: &str =
    "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) AS bytes FROM recordings WHERE owner = $1";

/// How a recording ended; null: not yet. An expression of the index of what may go (migration 3).
macro_rules! ending {
    () => {
        "(CASE WHEN state = 'ready' AND complete = 1 THEN 'complete' WHEN state IN ('ready', 'failed') THEN 'partial' END)"
    };
}

/// Since when it has been so. The other expression of that index.
macro_rules! since {
    () => {
        "(CASE WHEN state = 'ready' AND complete = 1 THEN ready_ms ELSE COALESCE(ended_ms, started_ms) END)"
    };
}

/// What may go: $1 `complete` or `partial`, $2 before when; $3 how many, $4 after how many.
pub(super) const DUE: &str = concat!(
    "SELECT ",
    columns!(),
    ", ",
    since!(),
    " AS since_ms FROM recordings WHERE ",
    ending!(),
    " = $1 AND ",
    since!(),
    " < $2 ORDER BY ",
    since!(),
    ", record_id COLLATE \"binary\" LIMIT $3 OFFSET $4"
);

/// An event, unless it waits already or was taken. Types are named where a database cannot tell them from the column.
pub(super) const ADD_EVENT: &str = "INSERT INTO outbox (record_id, fence, stage, event_id, body)
     SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS TEXT), CAST($5 AS TEXT)
     WHERE NOT EXISTS (SELECT 1 FROM told WHERE record_id = $1 AND fence = $2 AND stage = $3)
     ON CONFLICT (record_id, fence, stage) DO NOTHING";

/// The oldest event of each recording: $1 after which, $2 how many.
pub(super) const WAITING: &str = "SELECT record_id, fence, stage, event_id, body FROM outbox AS one
     WHERE record_id > $1 AND NOT EXISTS (
        SELECT 1 FROM outbox AS older WHERE older.record_id = one.record_id
           AND (older.fence < one.fence OR (older.fence = one.fence AND older.stage < one.stage)))
     ORDER BY record_id LIMIT $2";

/// Takes an event away.
pub(super) const DROP_EVENT: &str = "DELETE FROM outbox WHERE record_id = $1 AND fence = $2 AND stage = $3";

/// Notes that an event was taken, if there is a row that could tell it again.
pub(super) const NOTE_TOLD: &str = "INSERT INTO told (record_id, fence, stage)
     SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS BIGINT)
     WHERE EXISTS (SELECT 1 FROM recordings WHERE record_id = $1)
     ON CONFLICT (record_id, fence, stage) DO NOTHING";

/// Forgets what was taken of recordings of this name, unless one of them has a row.
pub(super) const FORGET_TOLD: &str = "DELETE FROM told WHERE record_id = $1
     AND NOT EXISTS (SELECT 1 FROM recordings WHERE record_id = $1)";

/// How many wait.
pub(super) const DEPTH: &str = "SELECT COUNT(*) AS events FROM outbox";
