//! Chunks: which may come, their numbers, and that they have come.

use deadpool_redis::redis::Value;
use uuid::Uuid;

use super::{
    super::{scripts, trouble::Trouble},
    Work,
    answer::{Answer, text},
    refused,
    restore::CHUNKS_AT_ONCE,
};
use crate::{
    adapters::ports::Patience,
    domain::recording::{Noted, Number, Placed, Unplaced},
    protocol::{
        RecordId, Refusal, TokenDigest, UploadToken,
        chunk::{ChunkIndex, ChunkMark},
    },
};

/// How often a number is asked for, beyond what connections that were lost make necessary.
const NUMBER_TRIES: u32 = 2;

/// A mark as the account keeps it.
pub fn mark_text(mark: &ChunkMark) -> String {
    format!("{}:{:08x}", mark.length, mark.crc)
}

impl Work {
    pub async fn admit(&self, token: &UploadToken, chunk: Unplaced) -> Result<Result<(), Refusal>, Trouble> {
        let question = self.on(&scripts::RECORDING_ADMIT, token.record_id(), |call| {
            call.arg(token.digest().to_hex()).arg(chunk.length).arg(u8::from(chunk.may_begin));
            call.arg(text(chunk.generation));
        });
        let no: String = Answer::of(self.store.ask_ledger(question).await?)?.take()?;
        if no.is_empty() { Ok(Ok(())) } else { refused(&no) }
    }

    pub async fn place(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        may_begin: bool,
    ) -> Result<Result<Placed, Refusal>, Trouble> {
        let question = self.on(&scripts::RECORDING_PLACE, token.record_id(), |call| {
            call.arg(token.digest().to_hex()).arg(index.get()).arg(mark_text(&mark)).arg(mark.length);
            call.arg(u8::from(may_begin));
        });
        match Answer::of(self.store.ask_ledger(question).await?)?.take::<String>()?.as_str() {
            "" => Ok(Ok(Placed::New)),
            "duplicate" => Ok(Ok(Placed::Duplicate)),
            no => refused(no),
        }
    }

    /// Asked for again by the same request, the same number is the answer. Where none comes, the number is owed back: nobody will
    /// ever use it.
    pub async fn number(
        &self,
        token: &UploadToken,
        chunk: Unplaced,
        request: Uuid,
    ) -> Result<Result<Number, Refusal>, Trouble> {
        let id = token.record_id();
        let mut tries = 0;
        let answer = loop {
            let question = self.on(&scripts::RECORDING_NUMBER, id, |call| {
                call.arg(token.digest().to_hex()).arg(request.to_string()).arg(chunk.length);
                call.arg(u8::from(chunk.may_begin)).arg(text(chunk.generation));
            });
            tries += 1;
            match self.store.ask_ledger(question).await {
                // It was not sent.
                Err(error @ Trouble::NotAsked) if tries == 1 => return Err(error),
                Err(error) if tries == NUMBER_TRIES => {
                    self.owed.number(id, request);
                    return Err(error);
                }
                Err(_) => {}
                Ok(answer) => break answer,
            }
        };
        let mut answer = Answer::of(answer)?;
        let no: String = answer.take()?;
        if !no.is_empty() {
            return refused(&no);
        }
        let (index, others_are_late) = (ChunkIndex::new(answer.take()?), answer.take()?);
        Ok(index.map(|index| Number { index, request, others_are_late }))
    }

    pub async fn give_back(&self, id: &RecordId, request: Uuid) -> Result<bool, Trouble> {
        let question = self.on(&scripts::RECORDING_GIVE_BACK, id, |call| {
            call.arg(request.to_string());
        });
        self.store.ask_ledger(question).await
    }

    pub async fn late_numbers(&self, id: &RecordId) -> Result<Vec<ChunkIndex>, Trouble> {
        let question = self.on(&scripts::RECORDING_LATE, id, |_| {});
        let late: Vec<u32> = self.store.ask_ledger(question).await?;
        Ok(late.into_iter().filter_map(|index| ChunkIndex::new(index).ok()).collect())
    }

    pub async fn fill(&self, id: &RecordId, whose: TokenDigest, voids: &[ChunkIndex]) -> Result<(), Trouble> {
        for voids in voids.chunks(CHUNKS_AT_ONCE) {
            let question = self.on(&scripts::RECORDING_FILL, id, |call| {
                call.arg(whose.to_hex()).arg(mark_text(&ChunkMark::VOID));
                for index in voids {
                    call.arg(index.get());
                }
            });
            self.store.ask_ledger::<Value>(question).await?;
        }
        Ok(())
    }

    /// Notes a chunk; `number`: only if this request has its place still.
    pub async fn note(
        &self,
        token: &UploadToken,
        index: ChunkIndex,
        mark: ChunkMark,
        patience: Patience,
        number: Option<Uuid>,
    ) -> Result<Option<Noted>, Trouble> {
        let (id, mut is_entered) = (token.record_id(), false);
        loop {
            let question = self.on(&scripts::RECORDING_NOTE, id, |call| {
                call.arg(token.digest().to_hex()).arg(index.get()).arg(mark_text(&mark));
                call.arg(u8::from(patience == Patience::Http)).arg(u8::from(is_entered));
                call.arg(number.map_or_else(String::new, |request| request.to_string()));
            });
            let mut answer = Answer::of(self.store.ask_ledger(question).await?)?;
            match answer.take::<String>()?.as_str() {
                "unknown" => return Ok(None),
                "withdrawn" => return Ok(Some(Noted::Withdrawn)),
                "in_time" => return Ok(Some(Noted::InTime)),
                "indexes" => {
                    self.enter_again(&mut answer).await?;
                    is_entered = true;
                }
                _ => {
                    let due_ms = answer.number()?;
                    self.due_sooner(id, due_ms).await;
                    return Ok(Some(Noted::Outdated));
                }
            }
        }
    }
}
