//! One segment's bytes on their way from the chunk store: each chunk held against its mark, then repaired and read.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{
    adapters::{
        ports::{ChunkStore, MergeError},
        whole_chunk::whole_chunk,
    },
    domain::{
        media::{Container, Event, GapReport, ReadError, Repair, Sniff, sniff},
        merge::{Piece, PlannedChunk, Segment, Tally},
    },
    protocol::RecordId,
};

/// Gives a segment's bytes out, piece by piece.
pub struct Source {
    store: Arc<dyn ChunkStore>,
    id: RecordId,
    pieces: VecDeque<Piece>,
    /// The segment's first chunk: while it can be read, a store is there.
    head: Option<PlannedChunk>,
    parser: Option<Box<Parser>>,
    /// Chunks that turned out to be of no use.
    bad: Vec<u32>,
    done_bytes: u64,
    /// What came last was missing.
    in_hole: bool,
    ended: bool,
}

/// What parsing holds from one chunk to the next.
struct Parser {
    repair: Option<Repair>,
    /// First bytes, until they say what they are.
    beginning: Vec<u8>,
    tally: Tally,
    events: Vec<Event>,
    /// For each hole so far, which gap it is.
    holes: Vec<Option<usize>>,
    /// Why nothing more can be read.
    stuck: Option<String>,
}

/// All that a segment told.
pub struct Fed {
    /// What was passed on.
    pub tally: Tally,
    /// Its gaps.
    pub gaps: Vec<GapReport>,
    /// For each hole, which gap it is.
    pub holes: Vec<Option<usize>>,
    /// Why its end, or all of it, could not be read.
    pub stuck: Option<String>,
}

/// Why a segment gives no more bytes.
#[derive(Debug)]
pub enum Trouble {
    /// Some chunks are of no use, and without them the plan is another.
    Unusable(Vec<u32>, String),
    /// The merge ends here.
    Merge(MergeError),
}

impl From<MergeError> for Trouble {
    fn from(error: MergeError) -> Self {
        Self::Merge(error)
    }
}

impl Source {
    /// Begins with a segment's first chunk.
    pub fn new(store: Arc<dyn ChunkStore>, id: RecordId, segment: &Segment) -> Self {
        Self {
            store,
            id,
            pieces: segment.pieces.iter().cloned().collect(),
            head: segment.chunks().next().copied(),
            parser: Some(Box::new(Parser::new())),
            bad: Vec::new(),
            done_bytes: 0,
            in_hole: false,
            ended: false,
        }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            let step = match self.pieces.pop_front() {
                _ if self.ended => return Ok(None),
                None => {
                    self.ended = true;
                    Step::Finish
                }
                Some(Piece::Hole(_)) => self.hole(),
                Some(Piece::Chunk(chunk)) => self.read(chunk).await?,
            };
            let bytes = self.parse(step).await?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// Whether the header has been read, or it never will be.
    pub fn knows_enough(&self) -> bool {
        self.ended
            || self.parser.as_ref().is_none_or(|parser| {
                parser.tally.knows_tracks || parser.repair.as_ref().is_some_and(Repair::needs_seeking)
            })
    }

    /// What was read so far.
    pub fn tally(&self) -> Option<&Tally> {
        self.parser.as_ref().map(|parser| &parser.tally)
    }

    /// What it comes in.
    pub fn container(&self) -> Option<Container> {
        let sniffed = |parser: &Parser| match sniff(&parser.beginning) {
            Sniff::Media(container) => Some(container),
            Sniff::NotMedia | Sniff::TooShort => None,
        };
        self.parser.as_ref().and_then(|parser| sniffed(parser))
    }

    /// Whether a pipe is not enough for it.
    pub fn needs_seeking(&self) -> bool {
        let parser = self.parser.as_ref();
        parser.and_then(|parser| parser.repair.as_ref()).is_some_and(Repair::needs_seeking)
    }

    /// Of the chunks given out so far. Unit: bytes.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    /// Chunks that turned out to be of no use, so far.
    pub fn bad(&self) -> &[u32] {
        &self.bad
    }

    /// What it told, at its end.
    pub fn finish(self) -> Fed {
        let parser = self.parser.map_or_else(Parser::new, |parser| *parser);
        let gaps = parser.repair.as_ref().map(|repair| repair.gaps().to_vec()).unwrap_or_default();
        Fed { tally: parser.tally, gaps, holes: parser.holes, stuck: parser.stuck }
    }

    /// Reads a chunk and holds it against its mark. A first one that is of no use takes its segment with it.
    async fn read(&mut self, chunk: PlannedChunk) -> Result<Step, Trouble> {
        self.done_bytes += u64::from(chunk.mark.length);
        let witness = self.head.map(|head| head.index);
        if let Some(bytes) = whole_chunk(&*self.store, &self.id, chunk, witness).await? {
            self.in_hole = false;
            return Ok(Step::Chunk(bytes));
        }
        let index = chunk.index.get();
        if self.head.is_some_and(|head| head.index == chunk.index) {
            return Err(Trouble::Unusable(vec![index], format!("chunk {index} is damaged or unreadable")));
        }
        self.bad.push(index);
        Ok(self.hole())
    }

    /// Something is missing here; holes side by side are one.
    fn hole(&mut self) -> Step {
        if std::mem::replace(&mut self.in_hole, true) { Step::Nothing } else { Step::Hole }
    }

    /// Parses where it holds up nobody.
    async fn parse(&mut self, step: Step) -> Result<Vec<u8>, Trouble> {
        let lost = |_| Trouble::Merge(MergeError::Interrupted("reading a chunk was broken off".into()));
        let Some(mut parser) = self.parser.take() else { return Err(lost(())) };
        let parsing = tokio::task::spawn_blocking(move || {
            let out = parser.step(step);
            (parser, out)
        });
        let (parser, out) = parsing.await.map_err(|_| lost(()))?;
        let stuck = parser.stuck.clone();
        self.parser = Some(parser);
        match stuck {
            Some(why) if !self.ended => self.give_up(why).map(|()| out),
            _ => Ok(out),
        }
    }

    /// Nothing that follows can be read: it is of no use.
    fn give_up(&mut self, why: String) -> Result<(), Trouble> {
        let rest = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Chunk(chunk) => Some(chunk.index.get()),
            Piece::Hole(_) => None,
        });
        let rest: Vec<_> = rest.collect();
        if rest.is_empty() {
            return Ok(());
        }
        Err(Trouble::Unusable(rest, why))
    }
}

enum Step {
    Chunk(Bytes),
    Hole,
    Nothing,
    Finish,
}

impl Parser {
    fn new() -> Self {
        Self {
            repair: None,
            beginning: Vec::new(),
            tally: Tally::default(),
            events: Vec::new(),
            holes: Vec::new(),
            stuck: None,
        }
    }

    fn step(&mut self, step: Step) -> Vec<u8> {
        let mut out = Vec::new();
        if self.stuck.is_none()
            && let Err(error) = self.try_step(step, &mut out)
        {
            self.stuck = Some(error.to_string());
        }
        self.events.drain(..).for_each(|event| self.tally.fold(&event));
        out
    }

    fn try_step(&mut self, step: Step, out: &mut Vec<u8>) -> Result<(), ReadError> {
        match step {
            Step::Nothing => {}
            Step::Chunk(bytes) => {
                out.reserve(bytes.len());
                self.feed(&bytes, out)?;
            }
            Step::Hole => {
                let repair = self.repair.as_mut();
                if let Some(repair) = repair {
                    repair.gap(out, &mut self.events);
                    self.holes.push(repair.gaps().len().checked_sub(1));
                } else {
                    return Err(ReadError::NotMedia("its beginning is missing"));
                }
            }
            Step::Finish => {
                if let Some(repair) = &mut self.repair {
                    repair.finish(out, &mut self.events);
                }
            }
        }
        Ok(())
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ReadError> {
        if let Some(repair) = &mut self.repair {
            return repair.feed(bytes, out, &mut self.events);
        }
        self.beginning.extend_from_slice(bytes);
        let container = match sniff(&self.beginning) {
            Sniff::TooShort => return Ok(()),
            Sniff::NotMedia => return Err(ReadError::NotMedia("it begins as neither WebM nor MP4 does")),
            Sniff::Media(container) => container,
        };
        let beginning = std::mem::take(&mut self.beginning);
        self.beginning.extend_from_slice(&beginning[..beginning.len().min(16)]);
        self.repair.insert(Repair::new(container)).feed(&beginning, out, &mut self.events)
    }
}
