//! The statements, each a literal: nothing that came from outside is ever part of one.

/// Columns in the order in which a row is bound.
macro_rules! columns {
    () => {
        "record_id, state, owner, room, title, started_ms, ended_ms, ready_ms, mime_type, chunks, missing, \
         error_code, error, key, poster, duration_ms, size_bytes, sha256, codecs, complete, gaps, work, \
         version, fence, words"
    };
}

/// Puts a row, unless there is one with a higher version, or the same version and a higher fence (M-3).
pub(super) const PUT: &str = concat!(
    "INSERT INTO recordings (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
     $23, $24, $25)
     ON CONFLICT (record_id) DO UPDATE SET
        state = excluded.state, owner = excluded.owner, room = excluded.room, title = excluded.title,
        started_ms = excluded.started_ms, ended_ms = excluded.ended_ms, ready_ms = excluded.ready_ms,
        mime_type = excluded.mime_type, chunks = excluded.chunks, missing = excluded.missing,
        error_code = excluded.error_code, error = excluded.error, key = excluded.key, poster = excluded.poster,
        duration_ms = excluded.duration_ms, size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
        codecs = excluded.codecs, complete = excluded.complete, gaps = excluded.gaps, work = excluded.work,
        version = excluded.version, fence = excluded.fence, words = excluded.words
     WHERE excluded.version > recordings.version
        OR (excluded.version = recordings.version AND excluded.fence >= recordings.fence)"
);

/// One row.
pub(super) const GET: &str = concat!("SELECT ", columns!(), " FROM recordings WHERE record_id = $1");

/// Takes a row away.
pub(super) const DELETE: &str = "DELETE FROM recordings WHERE record_id = $1";

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
              AND started_ms <= $5 AND (started_ms < $5 OR record_id > $6)
             ORDER BY started_ms DESC, record_id LIMIT $7"
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
