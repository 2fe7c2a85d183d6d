//! A recording as a row of the table: what is written into its columns, and how they are read back.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Any, Decode, Row as _, Type,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use super::{search, trouble::Trouble};
use crate::{
    adapters::ports::CatalogRow,
    domain::recording::VideoFacts,
    protocol::{
        Fence, RecordId, RoomName, UserId,
        recorder::{RecordingState, VideoKey},
    },
};

/// A statement with its values.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// Binds every column of a row, in the order of the table.
pub(super) fn bind(statement: Statement, row: CatalogRow) -> Statement {
    let words = search::words(&row);
    let (error_code, error) = row.error.unzip();
    let statement = statement
        .bind(row.record_id.to_string())
        .bind(row.state.name())
        .bind(row.owner.map(|owner| owner.to_string()))
        .bind(row.room.map(|room| room.to_string()))
        .bind(row.title.as_deref().map(text))
        .bind(number(row.started_ms))
        .bind(row.ended_ms.map(number))
        .bind(row.ready_ms.map(number))
        .bind(text(&row.mime_type))
        .bind(i64::from(row.chunks))
        .bind(json(&row.missing))
        .bind(error_code.as_deref().map(text))
        .bind(error.as_deref().map(text));
    bind_video(statement, row.video.as_ref())
        .bind(i64::from(row.version))
        .bind(number(row.fence.0))
        .bind(words)
        .bind(number(row.revision))
}

fn bind_video(statement: Statement, video: Option<&VideoFacts>) -> Statement {
    statement
        .bind(video.map(|video| video.key.as_str().to_owned()))
        .bind(video.and_then(|video| video.poster.as_ref()).map(|poster| poster.as_str().to_owned()))
        .bind(video.map(|video| number(video.duration_ms)))
        .bind(video.map(|video| number(video.size_bytes)))
        .bind(video.and_then(|video| video.sha256.clone()))
        .bind(video.map(|video| json(&video.codecs)))
        .bind(video.map(|video| i64::from(video.complete)))
        .bind(video.map(|video| json(&video.gaps)))
        .bind(video.map(|video| json(&video.work)))
}

/// Text as every database takes it: PostgreSQL knows no character zero, and would refuse the row again and again.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Databases count with a sign. What is beyond is no time and no size that there is.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How many rows.
pub(super) fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Lists of numbers and plain structures always have a form in JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// Reads a row.
///
/// # Errors
/// [`Trouble::Strange`], naming the column: somebody else has written into the table.
pub(super) fn read(row: &AnyRow) -> Result<CatalogRow, Trouble> {
    let text = |column| get::<Option<String>>(row, column);
    let time = |column| get::<Option<i64>>(row, column)?.map(|number| narrow(column, number)).transpose();
    Ok(CatalogRow {
        record_id: record_id(row)?,
        state: word("state", &get::<String>(row, "state")?, RecordingState::parse)?,
        owner: optional("owner", text("owner")?, |owner| UserId::parse(owner).ok())?,
        room: optional("room", text("room")?, |room| RoomName::parse(room).ok())?,
        title: text("title")?,
        started_ms: size(row, "started_ms")?,
        ended_ms: time("ended_ms")?,
        ready_ms: time("ready_ms")?,
        mime_type: get(row, "mime_type")?,
        chunks: size(row, "chunks")?,
        missing: list(row, "missing")?,
        error: text("error_code")?.zip(text("error")?),
        video: optional("key", text("key")?, VideoKey::parse)?.map(|key| read_video(row, key)).transpose()?,
        version: size(row, "version")?,
        fence: Fence(size(row, "fence")?),
        revision: size(row, "revision")?,
    })
}

fn read_video(row: &AnyRow, key: VideoKey) -> Result<VideoFacts, Trouble> {
    Ok(VideoFacts {
        key,
        poster: optional("poster", get(row, "poster")?, VideoKey::parse)?,
        duration_ms: size(row, "duration_ms")?,
        size_bytes: size(row, "size_bytes")?,
        sha256: get(row, "sha256")?,
        codecs: list(row, "codecs")?,
        complete: get::<i64>(row, "complete")? != 0,
        gaps: list(row, "gaps")?,
        work: list(row, "work")?,
    })
}

/// Reads whose row it is.
pub(super) fn record_id(row: &AnyRow) -> Result<RecordId, Trouble> {
    word("record_id", &get::<String>(row, "record_id")?, |id| RecordId::parse(id).ok())
}

/// Reads a number that counts something.
pub(super) fn size<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<T, Trouble> {
    narrow(column, get(row, column)?)
}

/// Reads a column.
pub(super) fn get<'r, T: Decode<'r, Any> + Type<Any>>(
    row: &'r AnyRow,
    column: &'static str,
) -> Result<T, Trouble> {
    row.try_get(column).map_err(|error| Trouble::Strange(error.to_string()))
}

fn narrow<T: TryFrom<i64>>(column: &str, number: i64) -> Result<T, Trouble> {
    T::try_from(number).map_err(|_| strange(column, &number.to_string()))
}

fn word<T>(column: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Trouble> {
    parse(text).ok_or_else(|| strange(column, text))
}

fn optional<T>(
    column: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Trouble> {
    text.map(|text| word(column, &text, parse)).transpose()
}

fn list<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, Trouble> {
    let text: String = get(row, column)?;
    serde_json::from_str(&text).map_err(|_| strange(column, &text))
}

fn strange(column: &str, found: &str) -> Trouble {
    const SHOWN: usize = 80;
    let found: String = found.chars().take(SHOWN).collect();
    Trouble::Strange(format!("`{column}` is {found:?}"))
}
