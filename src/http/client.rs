//! Which client a request comes from, and how many WebSockets each has open.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::HttpRequest;
use ipnet::IpNet;

use crate::protocol::{Code, Refusal};

/// A client that has too many is told to try again after this long. Unit: milliseconds.
const RETRY_AFTER_MS: u64 = 5000;

/// Counts open WebSockets by client address. Cheap to clone: clones count together.
#[derive(Debug, Clone)]
pub struct Connections {
    trusted_proxies: Arc<[IpNet]>,
    per_ip_max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One open WebSocket; counted until it is dropped.
#[derive(Debug)]
pub struct Permit {
    counted: Option<(IpAddr, Connections)>,
}

impl Connections {
    /// Counts up to `per_ip_max` for each address, and believes these proxies about addresses.
    #[must_use]
    pub fn new(trusted_proxies: Vec<IpNet>, per_ip_max: usize) -> Self {
        Self { trusted_proxies: trusted_proxies.into(), per_ip_max, open: Arc::default() }
    }

    /// Counts one more for this request's client.
    ///
    /// # Errors
    /// [`Code::TooManyConnections`] at the limit.
    pub fn admit(&self, request: &HttpRequest) -> Result<Permit, Refusal> {
        let Some(peer) = request.peer_addr().map(|address| address.ip().to_canonical()) else {
            return Ok(Permit { counted: None });
        };
        let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).collect();
        let client = self.client(peer, &hops);
        if client.is_loopback() && hops.is_empty() {
            // The operator's own tools.
            return Ok(Permit { counted: None });
        }
        self.count(network(client))
    }

    /// The first address, from the node outwards, that is no trusted proxy.
    fn client(&self, peer: IpAddr, hops: &[&str]) -> IpAddr {
        let mut client = peer;
        for hop in hops.iter().rev() {
            if !self.trusted_proxies.iter().any(|network| network.contains(&client)) {
                break;
            }
            // What is no address ends the chain: nothing behind it can be believed.
            let Some(address) = parse_hop(hop.trim()) else { break };
            client = address.to_canonical();
        }
        client
    }

    fn count(&self, client: IpAddr) -> Result<Permit, Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_insert(0);
        if *count >= self.per_ip_max {
            return Err(Refusal::from(Code::TooManyConnections).retry_after_ms(RETRY_AFTER_MS));
        }
        *count += 1;
        Ok(Permit { counted: Some((client, self.clone())) })
    }

    fn release(&self, client: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&client);
            }
        }
    }
}

/// A hop as proxies write it: an address, some with a port, IPv6 in brackets then.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port)
}

/// What is counted as one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((client, connections)) = self.counted.take() {
            connections.release(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(per_ip_max: usize) -> Connections {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"].map(|net| net.parse().expect("network"));
        Connections::new(trusted.to_vec(), per_ip_max)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let connections = connections(1);
        let client = |peer: &str, hops: &[&str]| connections.client(ip(peer), hops);
        assert_eq!(
            client("203.0.113.9", &["198.51.100.1"]),
            ip("203.0.113.9"),
            "a client may not say who it is"
        );
        assert_eq!(client("127.0.0.1", &["198.51.100.1"]), ip("198.51.100.1"));
        assert_eq!(client("127.0.0.1", &["6.6.6.6", "198.51.100.1", " 10.1.1.1"]), ip("198.51.100.1"));
        assert_eq!(client("127.0.0.1", &["198.51.100.1", "nonsense"]), ip("127.0.0.1"));
    }

    #[test]
    fn proxies_that_name_ports_are_understood_and_an_ipv6_customer_is_one_client() {
        let connections = connections(1);
        assert_eq!(connections.client(ip("127.0.0.1"), &["198.51.100.1:5000"]), ip("198.51.100.1"));
        assert_eq!(connections.client(ip("127.0.0.1"), &["[2001:db8::1]:5000"]), ip("2001:db8::1"));
        assert_eq!(network(ip("2001:db8:0:1:2:3:4:5")), network(ip("2001:db8:0:1:ffff::")));
        assert_ne!(network(ip("2001:db8:0:1::")), network(ip("2001:db8:0:2::")));
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let connections = connections(2);
        let first = connections.count(ip("198.51.100.1")).expect("first");
        let _second = connections.count(ip("198.51.100.1")).expect("second");
        let refused = connections.count(ip("198.51.100.1")).expect_err("third");
        assert_eq!(refused.code, Code::TooManyConnections);
        assert!(connections.count(ip("198.51.100.2")).is_ok(), "another address has its own places");
        drop(first);
        assert!(connections.count(ip("198.51.100.1")).is_ok());
        assert_eq!(
            connections.open.lock().expect("lock").len(),
            1,
            "an address without connections is forgotten"
        );
    }
}
