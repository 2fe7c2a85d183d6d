//! What a scanner told, in order, for [`Repair`](super::Repair) to act on.

use super::{Event, Sink, Unit};

/// One thing that was told.
#[derive(Debug, Clone)]
pub enum Note {
    Event(Event),
    Unit(Unit),
    Lost(u64, u64),
    Found(u64),
}

impl Sink for Vec<Note> {
    fn event(&mut self, event: Event) {
        self.push(Note::Event(event));
    }
    fn unit(&mut self, unit: Unit) {
        self.push(Note::Unit(unit));
    }
    fn lost(&mut self, position: u64, owed: u64) {
        self.push(Note::Lost(position, owed));
    }
    fn found(&mut self, position: u64) {
        self.push(Note::Found(position));
    }
}
