//! How things must stand when all has been quiet for long enough.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Page, RowTruth, Truth, tale::Tale};

/// Checks the registry against the browsers, and the browsers of each room against each other.
pub fn check(tales: &[Tale], truth: &Truth, wrong: &mut Vec<String>) {
    rows(tales, truth, wrong);
    leftovers(truth, wrong);
    for tale in tales.iter().filter(|tale| tale.page.attached) {
        roster(&tale.browser, &tale.page, truth, wrong);
    }
}

/// Who is in by an open socket, as the browsers have it.
fn present(tales: &[Tale]) -> BTreeSet<(&str, &str, &str)> {
    let pages = tales.iter().map(|tale| &tale.page).filter(|page| page.attached);
    pages
        .filter_map(|page| {
            let (session, _) = page.session.as_ref()?;
            Some((page.room.as_str(), page.user.as_str(), session.as_str()))
        })
        .collect()
}

/// The registry has exactly those that are there.
fn rows(tales: &[Tale], truth: &Truth, wrong: &mut Vec<String>) {
    let present = present(tales);
    let rows: BTreeSet<_> =
        truth.rows.iter().map(|row| (row.room.as_str(), row.user.as_str(), row.session.as_str())).collect();
    wrong.extend(rows.difference(&present).map(|row| format!("a ghost in the registry: {row:?}")));
    wrong.extend(present.difference(&rows).map(|row| format!("missing in the registry: {row:?}")));
    for row in &truth.rows {
        if row.state != "present" || !truth.live.contains(&row.node) {
            wrong.push(format!("a row that should not be: {row:?}"));
        }
    }
}

/// Nothing is left of dead nodes.
fn leftovers(truth: &Truth, wrong: &mut Vec<String>) {
    wrong.extend(truth.leases.difference(&truth.live).map(|node| format!("a lease of a dead node: {node}")));
    wrong.extend(truth.live.difference(&truth.leases).map(|node| format!("no lease of a live node: {node}")));
    let names: BTreeSet<&str> = truth.live.iter().filter_map(|node| node.split('#').next()).collect();
    let dead = truth.indexed.iter().filter(|node| !names.contains(node.as_str()));
    wrong.extend(dead.map(|node| format!("an index of a dead node: {node}")));
}

/// A page sees everyone else as the registry has them, and itself in its role.
fn roster(browser: &str, page: &Page, truth: &Truth, wrong: &mut Vec<String>) {
    let rows: Vec<_> = truth.rows.iter().filter(|row| row.room == page.room).collect();
    let moderator = rows.iter().min_by_key(|row| row.joined_at).map(|row| row.user.as_str());
    let role = |user: &str| if moderator == Some(user) { "moderator" } else { "participant" };
    let others: BTreeMap<String, Value> = rows
        .iter()
        .filter(|row| row.user != page.user)
        .map(|row| (row.user.clone(), view(row, role(&row.user))))
        .collect();
    let users: BTreeSet<&String> = others.keys().chain(page.roster.keys()).collect();
    for user in users {
        let (seen, there) = (page.roster.get(user), others.get(user));
        if seen != there {
            wrong.push(format!(
                "{browser} ({}) sees {}, but there is {}",
                page.user,
                shown(seen),
                shown(there)
            ));
        }
    }
    if page.role != role(&page.user) {
        wrong.push(format!("{browser} ({}) believes to be {}", page.user, page.role));
    }
    if page.locked != truth.locked.contains(&page.room) {
        wrong.push(format!("{browser} believes that locked is {}", page.locked));
    }
    // Whoever was let in while the registry was away or had forgotten may be one too many; nobody is thrown out for it.
    if truth.troubles.is_empty() && rows.len() > truth.participants_max {
        wrong.push(format!("{} are in {}, where {} may be", rows.len(), page.room, truth.participants_max));
    }
}

fn shown(view: Option<&Value>) -> String {
    view.map_or_else(|| "nobody".to_owned(), Value::to_string)
}

fn view(row: &RowTruth, role: &str) -> Value {
    json!({
        "user_id": row.user,
        "username": row.username,
        "role": role,
        "state": row.state,
        "metadata": row.metadata,
    })
}
