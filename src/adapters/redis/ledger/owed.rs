//! What could not be done because Redis gave no answer; so a number that nobody has heard of leaves no hole, a deadline is not looked
//! at too late, and a claim that nobody has heard of does not hold the recording up for its term.
//!
//! Numbers are given back before anything else is asked of the recording, since they are where its account is: what cannot be paid
//! there could not be asked there either. The index of times is elsewhere, perhaps on a server that is away, and holds up no act; it
//! is told by the next sweep. Sweeps also ask for claims again, as far as there is room for them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{domain::recording::Manifest, protocol::RecordId};

/// Recordings of which something is owed. Overflow act: it is not remembered; a number whose chunk does not come is taken back
/// after a while anyway, and a recording is looked at again at the time that stands in the index.
const RECORDINGS_MAX: usize = 4096;
/// Numbers of one of them. Overflow act: the same.
const NUMBERS_MAX: usize = 256;
/// Accounts that were to be closed without an answer. Overflow act: the oldest is forgotten; whoever asks for it again is told
/// that there is no such account.
const CLOSINGS_MAX: usize = 256;
/// After a server gave no answer, those who come next do not wait for it too, one after the other.
const PAUSE: Duration = Duration::from_millis(500);

/// Debts, by recording.
#[derive(Default)]
pub struct Owed {
    debts: Mutex<BTreeMap<RecordId, Standing>>,
    closings: Mutex<VecDeque<Manifest>>,
    /// Until when the index is not told of anything.
    index_rests: Mutex<Option<Instant>>,
}

/// What is owed of one recording, and how it is paid.
#[derive(Default)]
struct Standing {
    debt: Debt,
    turn: Turn,
    /// Until when nobody tries to give its numbers back.
    rests: Option<Instant>,
}

/// Held by whoever gives a recording's numbers back; who comes meanwhile waits, because nothing is asked of it before.
pub type Turn = Arc<tokio::sync::Mutex<()>>;

/// What is owed of one recording.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Debt {
    /// Requests whose number is to be given back, if they were given one.
    pub numbers: Vec<Uuid>,
    /// Whether the index is to learn when it is due.
    pub due: bool,
    /// A claim that was asked for without an answer.
    pub claim: Option<Uuid>,
}

impl Owed {
    /// A request for a number was not answered.
    pub fn number(&self, id: &RecordId, request: Uuid) {
        self.change(id, |debt| {
            if debt.numbers.len() < NUMBERS_MAX {
                debt.numbers.push(request);
            }
        });
    }

    /// The index could not be told when it is due.
    pub fn due(&self, id: &RecordId) {
        self.change(id, |debt| debt.due = true);
    }

    /// A claim was not answered.
    pub fn claim(&self, id: &RecordId, request: Uuid) {
        self.change(id, |debt| debt.claim = Some(request));
    }

    /// What is owed of a recording.
    pub fn of(&self, id: &RecordId) -> Option<Debt> {
        self.debts().get(id).map(|standing| standing.debt.clone())
    }

    /// Recordings of which this is owed.
    pub fn all(&self, which: impl Fn(&Debt) -> bool) -> Vec<RecordId> {
        let debts = self.debts();
        debts.iter().filter(|(_, standing)| which(&standing.debt)).map(|(id, _)| id.clone()).collect()
    }

    /// Whose turn it is to give a recording's numbers back; `None`: none are owed.
    pub fn turn(&self, id: &RecordId) -> Option<Turn> {
        let debts = self.debts();
        let standing = debts.get(id).filter(|standing| !standing.debt.numbers.is_empty());
        standing.map(|standing| standing.turn.clone())
    }

    /// The numbers of a recording could not be given back now.
    pub fn rest(&self, id: &RecordId) {
        if let Some(standing) = self.debts().get_mut(id) {
            standing.rests = Some(Instant::now() + PAUSE);
        }
    }

    /// Whether that was a moment ago.
    pub fn rests(&self, id: &RecordId) -> bool {
        is_ahead(self.debts().get(id).and_then(|standing| standing.rests))
    }

    /// The index could not be told of anything now.
    pub fn index_rest(&self) {
        *self.index() = Some(Instant::now() + PAUSE);
    }

    /// Whether that was a moment ago.
    pub fn index_rests(&self) -> bool {
        is_ahead(*self.index())
    }

    /// The recordings of which the index is to learn, at most so many; they are owed no more. Whoever fails says so again: a
    /// deadline that becomes sooner meanwhile is not forgotten.
    pub fn take_due(&self, most: usize) -> Vec<RecordId> {
        let mut debts = self.debts();
        let due = debts.iter_mut().filter(|(_, standing)| standing.debt.due).take(most);
        let due = due.map(|(id, standing)| {
            standing.debt.due = false;
            id.clone()
        });
        let due: Vec<_> = due.collect();
        debts.retain(|_, standing| standing.debt != Debt::default());
        due
    }

    /// This was done.
    pub fn paid(&self, id: &RecordId, paid: &Debt) {
        let mut debts = self.debts();
        let Some(Standing { debt, .. }) = debts.get_mut(id) else { return };
        debt.numbers.retain(|request| !paid.numbers.contains(request));
        debt.due &= !paid.due;
        debt.claim = debt.claim.filter(|request| paid.claim != Some(*request));
        if *debt == Debt::default() {
            debts.remove(id);
        }
    }

    /// It was not answered whether this account was closed. Whoever asks again is told what became of it.
    pub fn closing(&self, last: Manifest) {
        self.closed(&last.record_id);
        let mut closings = self.closings();
        if closings.len() >= CLOSINGS_MAX {
            closings.pop_front();
        }
        closings.push_back(last);
    }

    /// How an account last stood that was to be closed.
    pub fn last_of(&self, id: &RecordId) -> Option<Manifest> {
        self.closings().iter().find(|last| last.record_id == *id).cloned()
    }

    /// That was answered.
    pub fn closed(&self, id: &RecordId) {
        self.closings().retain(|last| last.record_id != *id);
    }

    fn closings(&self) -> MutexGuard<'_, VecDeque<Manifest>> {
        // As with debts.
        self.closings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: &RecordId, change: impl FnOnce(&mut Debt)) {
        let mut debts = self.debts();
        if debts.len() < RECORDINGS_MAX || debts.contains_key(id) {
            change(&mut debts.entry(id.clone()).or_default().debt);
        }
    }

    fn debts(&self) -> MutexGuard<'_, BTreeMap<RecordId, Standing>> {
        // Nothing under this lock can panic half way.
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, Option<Instant>> {
        // Only whole values are put in.
        self.index_rests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ahead(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at > Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_bounded_and_what_was_not_paid_stays() {
        let owed = Owed::default();
        let id = |n: usize| RecordId::parse(&format!("r{n}")).expect("valid");
        for n in 0..RECORDINGS_MAX + 5 {
            owed.due(&id(n));
        }
        assert_eq!(owed.all(|debt| debt.due).len(), RECORDINGS_MAX);
        for n in 0..NUMBERS_MAX + 5 {
            owed.number(&id(0), Uuid::from_u128(n as u128));
        }
        let debt = owed.of(&id(0)).expect("owed");
        assert_eq!((debt.numbers.len(), debt.due), (NUMBERS_MAX, true));
        owed.paid(&id(0), &Debt { numbers: debt.numbers[1..].to_vec(), due: true, claim: None });
        let left = Debt { numbers: vec![Uuid::from_u128(0)], ..Debt::default() };
        assert_eq!(owed.of(&id(0)), Some(left.clone()));
        owed.claim(&id(0), Uuid::from_u128(1));
        owed.claim(&id(0), Uuid::from_u128(2));
        owed.paid(&id(0), &Debt { claim: Some(Uuid::from_u128(1)), ..left });
        let claim = Some(Uuid::from_u128(2));
        assert_eq!(owed.of(&id(0)), Some(Debt { claim, ..Debt::default() }));
        owed.paid(&id(0), &Debt { claim, ..Debt::default() });
        assert_eq!(owed.of(&id(0)), None);
    }
    #[test]
    fn the_index_is_told_of_each_once_and_again_where_that_failed() {
        let owed = Owed::default();
        let id = |n: u32| RecordId::parse(&format!("r{n}")).expect("valid");
        (0..3).for_each(|n| owed.due(&id(n)));
        owed.claim(&id(0), Uuid::from_u128(1));
        assert_eq!(owed.take_due(2), [id(0), id(1)]);
        // It became sooner once more while the index was told.
        owed.due(&id(1));
        assert_eq!(owed.take_due(9), [id(1), id(2)]);
        assert_eq!(owed.take_due(9), []);
        assert_eq!(owed.all(|_| true), [id(0)], "what else is owed stays");
    }

    #[test]
    fn who_comes_after_one_that_failed_does_not_wait_as_long() {
        let owed = Owed::default();
        let ids = ["away", "here"].map(|name| RecordId::parse(name).expect("valid"));
        for id in &ids {
            owed.due(id);
            assert!(owed.turn(id).is_none(), "the index holds up no act");
            owed.number(id, Uuid::from_u128(1));
            assert!(owed.turn(id).is_some_and(|turn| turn.try_lock().is_ok()));
        }
        let paying = owed.turn(&ids[0]).expect("owed");
        let _paying = paying.try_lock().expect("the first");
        assert!(owed.turn(&ids[0]).is_some_and(|turn| turn.try_lock().is_err()), "one at a time");
        assert!(owed.turn(&ids[1]).is_some_and(|turn| turn.try_lock().is_ok()), "and of each recording");
        owed.rest(&ids[0]);
        assert_eq!(ids.each_ref().map(|id| owed.rests(id)), [true, false]);
        assert!(!owed.index_rests());
        owed.index_rest();
        assert!(owed.index_rests());
    }
}
