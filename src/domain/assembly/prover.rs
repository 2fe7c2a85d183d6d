//! The file read back while it is being written: whether it holds what was put into it.

use serde::{Deserialize, Serialize};

use super::{Assembler, cluster_prover::ClusterProver, mp4::FragmentProver, output::Output};
use crate::domain::merge::Difference;

/// Takes the file, cut anywhere.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Prover {
    /// Known with the file's first bytes.
    of_kind: Option<OfKind>,
    /// What differs. It stays at this.
    differs: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum OfKind {
    Matroska(Box<ClusterProver>),
    Mp4(Box<FragmentProver>),
}

/// So many bytes are read at once; what is found in them is held until they are.
const PIECE_BYTES: usize = 64 * 1024;

impl Prover {
    /// Begins with the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes of the file it has read: the next ones are wanted. Unit: bytes.
    #[must_use]
    pub fn read(&self) -> u64 {
        match &self.of_kind {
            None => 0,
            Some(OfKind::Matroska(prover)) => prover.read(),
            Some(OfKind::Mp4(prover)) => prover.read(),
        }
    }

    /// Takes the next bytes of the file, of which only such up to [`settled`](Assembler::settled) are there to be read. The head is
    /// read at once: what is completed in it meanwhile must not be read by halves.
    ///
    /// # Errors
    /// Says what differs, for people. Asked again, it says the same.
    pub fn feed(&mut self, bytes: &[u8], assembler: &Assembler) -> Result<(), Difference> {
        let settled = assembler.settled();
        if bytes.len() as u64 > settled.saturating_sub(self.read()) {
            return Err(format!("only {settled} bytes of it are there to be read").into());
        }
        if !bytes.is_empty() && self.read() + (bytes.len() as u64) < assembler.head_bytes() {
            return Err("its head is read at once".to_owned().into());
        }
        if self.differs.is_none()
            && let Some(output) = &assembler.output
        {
            self.differs = bytes.chunks(PIECE_BYTES).find_map(|piece| self.piece(piece, output).err());
        }
        self.differs.clone().map_or(Ok(()), |words| Err(words.into()))
    }

    /// Holds what was read against what was written. `head` is the finished file's beginning, as many bytes of it as
    /// [`head_bytes`](Assembler::head_bytes) says, read once more.
    ///
    /// # Errors
    /// Says what differs, for people.
    pub fn finish(self, head: &[u8], assembler: &Assembler) -> Result<(), Difference> {
        if let Some(words) = self.differs {
            return Err(words.into());
        }
        match (self.of_kind, &assembler.output) {
            (Some(OfKind::Matroska(prover)), Some(Output::Matroska(output))) => {
                prover.finish(head, assembler, output)
            }
            (Some(OfKind::Mp4(prover)), Some(Output::Mp4(output))) => prover.finish(head, assembler, output),
            (_, None) => Err("there is no file".to_owned().into()),
            _ => Err("nothing of it was read".to_owned().into()),
        }
    }

    fn piece(&mut self, bytes: &[u8], output: &Output) -> Result<(), String> {
        let begun = self.of_kind.get_or_insert_with(|| match output {
            Output::Matroska(_) => OfKind::Matroska(Box::default()),
            Output::Mp4(_) => OfKind::Mp4(Box::default()),
        });
        match (begun, output) {
            (OfKind::Matroska(prover), Output::Matroska(output)) => prover.piece(bytes, output),
            (OfKind::Mp4(prover), Output::Mp4(output)) => prover.piece(bytes, output),
            _ => Err("it is a file of another kind".to_owned()),
        }
    }
}
