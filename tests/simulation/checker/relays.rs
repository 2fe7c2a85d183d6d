//! Relays between each pair of sessions: none lost in silence, none twice, none out of order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Truth,
    tale::{Heard, Sent, Stay, Tale},
};

/// Who has joined no longer ago is not yet owed what others send: they may not have heard of it.
const SETTLING: Duration = Duration::from_secs(1);

/// Checks every pair of sessions.
pub fn check(tales: &[Tale], truth: &Truth, wrong: &mut Vec<String>) {
    let stays: BTreeMap<&str, &Stay> =
        tales.iter().flat_map(|tale| &tale.stays).map(|stay| (stay.session.as_str(), stay)).collect();
    for recipient in stays.values() {
        let mut heard: BTreeMap<&str, Vec<&Heard>> = BTreeMap::new();
        for relay in &recipient.heard {
            heard.entry(&relay.from).or_default().push(relay);
        }
        for (from, relays) in &heard {
            order(recipient, from, relays, wrong);
            match stays.get(from) {
                Some(sender) => addressed(recipient, sender, relays, wrong),
                None => {
                    wrong.push(format!("{} heard of a session that nobody had: {from}", recipient.browser));
                }
            }
        }
        // Of two sessions of one participant, each let in where nobody knew of the other, one hears what it is sent.
        let twins: Vec<_> = stays
            .values()
            .filter(|stay| stay.room == recipient.room && stay.user == recipient.user)
            .flat_map(|stay| &stay.heard)
            .collect();
        for sender in stays.values().filter(|sender| sender.room == recipient.room) {
            let relays = heard.get(sender.session.as_str()).map(Vec::as_slice);
            let pair = Pair { sender, recipient, heard: relays.unwrap_or_default(), twins: &twins, truth };
            pair.losses(wrong);
        }
    }
}

fn order(recipient: &Stay, from: &str, heard: &[&Heard], wrong: &mut Vec<String>) {
    for pair in heard.windows(2) {
        if pair[1].number <= pair[0].number {
            let (at, first, second) = (pair[1].at.as_secs_f64(), pair[0].number, pair[1].number);
            let what = if first == second { "twice" } else { "out of order" };
            wrong.push(format!(
                "{at:.3}s {}: heard {what}: {second} after {first} from {from}",
                recipient.browser
            ));
        }
    }
}

/// What was heard was sent, to this one, in this room.
fn addressed(recipient: &Stay, sender: &Stay, heard: &[&Heard], wrong: &mut Vec<String>) {
    let meant = |sent: &&Sent| sent.target.as_ref().is_none_or(|target| *target == recipient.user);
    let sent: BTreeSet<u64> = sender.sent.iter().filter(meant).map(|sent| sent.number).collect();
    for relay in heard.iter().filter(|relay| !sent.contains(&relay.number) || sender.room != recipient.room) {
        wrong.push(format!(
            "{} heard what was not meant for it: {} from {}",
            recipient.browser, relay.number, sender.browser
        ));
    }
}

/// One direction between two sessions.
struct Pair<'a> {
    sender: &'a Stay,
    recipient: &'a Stay,
    /// What the recipient heard of the sender.
    heard: &'a [&'a Heard],
    /// What any session of that participant heard, of anybody.
    twins: &'a [&'a Heard],
    truth: &'a Truth,
}

impl Pair<'_> {
    /// What was accepted is heard, unless somebody is told that it was not.
    fn losses(&self, wrong: &mut Vec<String>) {
        let Self { sender, recipient, .. } = self;
        if !sender.lasts || sender.user == recipient.user {
            return;
        }
        let of_sender = self.twins.iter().filter(|relay| relay.from == sender.session);
        let numbers: BTreeSet<u64> = of_sender.map(|relay| relay.number).collect();
        let missed = sender.sent.iter().filter(|sent| !numbers.contains(&sent.number) && self.is_owed(sent));
        for sent in missed {
            let later = self.heard.iter().find(|relay| relay.number > sent.number);
            let until = later.map_or(Duration::MAX, |relay| relay.at);
            // Who has gone, or lost its socket, was not owed what came after; what it did hear tells what came before.
            if (later.is_some() || recipient.lasts) && !recipient.had_snapshot(sent.at, until) {
                let what = if later.is_some() { "a gap in silence" } else { "lost in silence" };
                wrong.push(format!(
                    "{:.3}s {what}: {} of {} ({}) never reached {} ({})",
                    sent.at.as_secs_f64(),
                    sent.number,
                    sender.browser,
                    sender.session,
                    recipient.browser,
                    recipient.session,
                ));
            }
        }
    }

    fn is_owed(&self, sent: &Sent) -> bool {
        let Self { sender, recipient, .. } = self;
        let meant = sent.target.as_ref().is_none_or(|target| *target == recipient.user);
        meant
            && sent.accepted
            && !sent.refused
            && sent.seen.contains(&recipient.user)
            && recipient.saw(&sender.user, sent.at)
            && self.is_introduced(sent)
            // A sender that was given the whole picture may have missed that this was refused.
            && !sender.had_snapshot(sent.at, Duration::MAX)
    }

    /// Whether the sender's node must know of this session: it has been there for a while, and nothing stood in the way,
    /// or it was reached before. Else what is said may go to an earlier session of the same participant.
    fn is_introduced(&self, sent: &Sent) -> bool {
        let began = self.recipient.began;
        let reached = self.heard.iter().any(|relay| relay.number < sent.number && relay.at < sent.at);
        let calm = !self.truth.troubles.iter().any(|(from, to)| *from <= sent.at && *to >= began);
        began + SETTLING < sent.at && (reached || calm)
    }
}
