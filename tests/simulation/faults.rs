//! What goes wrong, and how it ends.

use std::time::Duration;

use greenroom::domain::{cluster::ClusterInput, rooms::RoomInput};

use crate::{
    network::{Redis, SWIFT_US, Way},
    node::{Input, State},
    world::{Event, World},
};

/// Something that goes wrong, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed, and started again when it is over.
    Crash(usize),
    /// A process is stopped, and goes on when it is over.
    Freeze(usize),
    /// A node does not reach Redis; what is on the way is lost, or comes later.
    Cut { node: usize, dammed: bool },
    /// Redis takes everything and does nothing.
    Pause,
    /// Redis is gone, and comes back with what it had, with what its replica had, or with nothing.
    Away(Memory),
    /// Redis forgets everything while it runs.
    Wipe,
    /// Messages between two nodes are lost: so many in a thousand.
    Loss { from: usize, to: usize, per_mille: usize },
    /// Messages come twice now and then.
    Doubling,
    /// A node's subscription looks well and is dead.
    Zombie(usize),
    /// A node's subscription breaks and is made again.
    Unsubscribed(usize),
    /// Everything takes long.
    Slow,
    /// A node goes away politely, and is started again when it is over.
    Drain(usize),
}

/// What Redis still has when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    All,
    /// Without the latest.
    Replica,
    Nothing,
}

/// How far a replica may lag behind. Unit: µs.
const REPLICA_LAG_US: u64 = 1_500_000;

impl World {
    /// Plans what goes wrong in a run: in every fourth run nothing.
    pub fn plan_faults(&mut self, lasts: Duration) {
        for node in 0..self.nodes.len() {
            self.soon(0, 10_000_000, Event::Start { node });
        }
        if self.plan.seed.is_multiple_of(4) {
            return;
        }
        let (now, end) = (self.now, self.now + lasts);
        let lasts_us = u64::try_from(lasts.as_micros()).expect("short");
        for _ in 0..1 + self.chance.below(5) {
            let fault = self.choose_fault();
            let begins = now + self.delay(1_000_000, lasts_us);
            let lasts = match fault {
                Fault::Wipe | Fault::Unsubscribed(_) => Duration::ZERO,
                Fault::Pause | Fault::Away(_) => self.delay(200_000, 6_000_000),
                Fault::Drain(_) => self.delay(1_000_000, 6_000_000),
                _ => self.delay(200_000, 14_000_000),
            };
            self.at(begins, Event::Fault(fault));
            self.at((begins + lasts).min(end), Event::Heal(fault));
        }
    }

    fn choose_fault(&mut self) -> Fault {
        let nodes = self.nodes.len();
        let node = self.chance.below(nodes);
        let other = (node + 1 + self.chance.below(nodes - 1)) % nodes;
        match self.chance.below(20) {
            0..3 => Fault::Crash(node),
            3..5 => Fault::Freeze(node),
            5..8 => Fault::Cut { node, dammed: self.chance.one_in(2) },
            8 => Fault::Pause,
            9 => Fault::Away(Memory::All),
            10 => Fault::Away(Memory::Replica),
            11 => Fault::Away(Memory::Nothing),
            12 => Fault::Wipe,
            13..16 => Fault::Loss { from: node, to: other, per_mille: *self.chance.pick(&[50, 300, 1000]) },
            16 => Fault::Doubling,
            17 => *self.chance.pick(&[Fault::Zombie(node), Fault::Unsubscribed(node)]),
            18 => Fault::Slow,
            _ => Fault::Drain(node),
        }
    }

    /// The replica catches up, every now and then.
    pub fn replicate(&mut self) {
        if self.health.redis == Redis::Up {
            self.store.replicate();
        }
        if !self.quiet {
            self.soon(100_000, REPLICA_LAG_US, Event::Replicate);
        }
    }

    /// Something goes wrong.
    pub fn fail(&mut self, fault: Fault) {
        self.say(|| format!("*** {fault:?}"));
        self.troubles.push((self.now, Duration::MAX));
        match fault {
            Fault::Crash(node) => self.end_node(node),
            Fault::Freeze(node) => {
                if matches!(self.nodes[node].state, State::Up) {
                    self.nodes[node].state = State::Frozen(std::collections::VecDeque::new());
                }
            }
            Fault::Cut { node, dammed } => {
                self.health.ways[node] = if dammed { Way::Dammed } else { Way::Cut };
            }
            Fault::Pause => self.health.redis = Redis::Paused,
            Fault::Away(_) => self.redis_goes(),
            Fault::Wipe => self.store.wipe(),
            Fault::Loss { from, to, per_mille } => drop(self.health.loss.insert((from, to), per_mille)),
            Fault::Doubling => self.health.doubling = 100,
            Fault::Zombie(node) => {
                self.health.zombies[node] = true;
                self.deafen(node);
            }
            Fault::Unsubscribed(node) => {
                let lasts = self.delay(10_000, 3_000_000);
                let lasts = u64::try_from(lasts.as_micros()).expect("short");
                self.unsubscribe(node, lasts);
            }
            Fault::Slow => self.health.slowness = 700_000,
            Fault::Drain(node) => self.drain(node),
        }
    }

    fn redis_goes(&mut self) {
        self.health.redis = Redis::Away;
        for node in 0..self.nodes.len() {
            self.unsubscribe(node, 10_000);
        }
    }

    fn drain(&mut self, node: usize) {
        let lives = self.nodes[node].lives;
        let Some(life) = self.nodes[node].life.as_mut().filter(|life| life.ready) else { return };
        life.draining = true;
        self.input(node, lives, Input::Cluster(ClusterInput::Drain));
        self.input(node, lives, Input::Rooms(RoomInput::Drain { spread_ms: 1_000 }));
    }

    /// It is over.
    pub fn heal(&mut self, fault: Fault) {
        self.say(|| format!("*** over: {fault:?}"));
        if let Some(trouble) = self.troubles.iter_mut().find(|(_, until)| *until == Duration::MAX) {
            trouble.1 = self.now;
        }
        match fault {
            Fault::Crash(node) => self.soon(0, 500_000, Event::Start { node }),
            Fault::Freeze(node) => self.thaw(node),
            Fault::Cut { node, .. } => self.mend(node),
            Fault::Pause => self.redis_returns(),
            Fault::Away(memory) => {
                if self.health.redis != Redis::Away {
                    // Another fault's end has brought it back; that it is another server now, connections do not survive.
                    self.redis_goes();
                }
                match memory {
                    Memory::All => {}
                    Memory::Replica => self.store.fail_over(),
                    Memory::Nothing => self.store.wipe(),
                }
                self.redis_returns();
            }
            Fault::Wipe | Fault::Unsubscribed(_) => {}
            Fault::Loss { from, to, .. } => drop(self.health.loss.remove(&(from, to))),
            Fault::Doubling => self.health.doubling = 0,
            // Only the node itself can end it.
            Fault::Zombie(_) => {}
            Fault::Slow => self.health.slowness = SWIFT_US,
            Fault::Drain(node) => self.stop(node),
        }
    }

    /// A stopped process goes on: first with what waited for it.
    fn thaw(&mut self, node: usize) {
        let State::Frozen(waiting) = &mut self.nodes[node].state else { return };
        let waiting = std::mem::take(waiting);
        self.nodes[node].state = State::Up;
        let life = self.nodes[node].lives;
        // Its timers are due too, and may come first.
        if self.chance.one_in(2) {
            self.input(node, life, Input::Tick);
        }
        for input in waiting {
            self.input(node, life, input);
        }
    }

    fn mend(&mut self, node: usize) {
        let was = std::mem::replace(&mut self.health.ways[node], Way::Open);
        if was == Way::Cut {
            self.unsubscribe(node, 1_000);
        }
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.health.dammed).into_iter().partition(|(of, _)| *of == node);
        self.health.dammed = others;
        for (_, event) in mine {
            self.at(self.now, event);
        }
    }

    fn redis_returns(&mut self) {
        self.health.redis = Redis::Up;
        for event in std::mem::take(&mut self.health.waiting) {
            self.at(self.now, event);
        }
    }

    /// The last step of going away politely.
    fn stop(&mut self, node: usize) {
        let life = self.nodes[node].lives;
        if !self.nodes[node].life.as_ref().is_some_and(|held| held.draining) {
            return;
        }
        self.input(node, life, Input::Cluster(ClusterInput::Stop));
        self.end_node(node);
        self.soon(0, 3_000_000, Event::Start { node });
    }

    /// Nothing is wrong any more; what was killed may stay away.
    pub fn heal_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.mend(node);
            self.thaw(node);
            self.stop(node);
            if node < 2 || !self.chance.one_in(4) {
                self.start(node);
            }
        }
        self.health.loss.clear();
        self.health.doubling = 0;
        self.health.slowness = SWIFT_US;
        self.redis_returns();
        for (_, until) in &mut self.troubles {
            *until = (*until).min(self.now);
        }
        self.say(|| "*** all is healed".to_owned());
    }
}
