//! What could not be done because Redis gave no answer. It is done before anything else is asked of the recording, and by each
//! sweep; so a number that nobody has heard of leaves no hole, a deadline is not looked at too late, and a claim that nobody has
//! heard of does not hold the recording up for its term.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
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

/// Debts, by recording.
#[derive(Default)]
pub struct Owed {
    debts: Mutex<BTreeMap<RecordId, Debt>>,
    closings: Mutex<VecDeque<Manifest>>,
    /// One pays at a time, and who comes meanwhile waits: nothing is asked of a recording before.
    pub paying: tokio::sync::Mutex<()>,
}

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
        self.debts().get(id).cloned()
    }

    /// Recordings of which something is owed.
    pub fn all(&self) -> Vec<RecordId> {
        self.debts().keys().cloned().collect()
    }

    /// This was done.
    pub fn paid(&self, id: &RecordId, paid: &Debt) {
        let mut debts = self.debts();
        let Some(debt) = debts.get_mut(id) else { return };
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
            change(debts.entry(id.clone()).or_default());
        }
    }

    fn debts(&self) -> MutexGuard<'_, BTreeMap<RecordId, Debt>> {
        // Nothing under this lock can panic half way.
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        assert_eq!(owed.all().len(), RECORDINGS_MAX);
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
}
