//! What is asked for comes through as it is: pages, chunks, videos, sockets, and who asks.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::support::{
    CONFIGURATIONS, Cluster, Nginx, Recorder, Upload, eventually, get, ready, send, video, webm, within,
};

/// The largest chunk over HTTP. Unit: bytes.
const CHUNK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A handshake whose answer is read no further than its status; the connection stays with the caller.
async fn knock_from(source: &str, nginx: SocketAddr, headers: &str) -> (u16, TcpStream) {
    let source: IpAddr = source.parse().expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source, 0)).expect("all of 127.0.0.0/8 is this machine");
    let mut stream = within("a connection", socket.connect(nginx)).await.expect("nginx accepts connections");
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: {nginx}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    );
    stream.write_all(handshake.as_bytes()).await.expect("the connection is open");
    (status(&mut stream).await, stream)
}

/// The status that comes next.
async fn status(stream: &mut TcpStream) -> u16 {
    let mut line = [0; "HTTP/1.1 200".len()];
    within("an answer", stream.read_exact(&mut line)).await.expect("an answer");
    std::str::from_utf8(&line[9..]).expect("text").parse().expect("a status")
}

#[tokio::test]
async fn pages_and_what_they_load_come_through() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(3, &[]).await;
    for configuration in CONFIGURATIONS {
        let nginx = cluster.through_nginx(configuration);
        for path in ["/", "/room/blue", "/recorder?room=blue", "/library", "/static/js/index.js"] {
            let (through, straight) = (get(nginx.address(), path).await, get(cluster.address(0), path).await);
            assert_eq!((through.status, &through.body), (200, &straight.body), "{configuration}: {path}");
            let policy = |head: &str| {
                head.lines().find(|line| line.starts_with("content-security-policy")).map(str::to_owned)
            };
            assert_eq!(policy(&through.head), policy(&straight.head), "{configuration}: {path}");
        }
        assert_eq!(get(nginx.address(), "/nowhere").await.status, 404, "{configuration}");
    }
}

#[tokio::test]
async fn clients_are_counted_by_their_own_address_whatever_they_say() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(1, &["--connections-per-ip=2", "--trusted-proxies=127.0.0.1"]).await;
    for configuration in CONFIGURATIONS {
        let nginx = cluster.through_nginx(configuration);
        let mut open = Vec::new();
        for forged in ["", "X-Forwarded-For: 198.51.100.7\r\n"] {
            for source in ["127.0.0.2", "127.0.0.3"] {
                let (status, stream) = knock_from(source, nginx.address(), forged).await;
                assert_eq!(status, 101, "{configuration}: {source} has two places");
                open.push(stream);
            }
        }
        for forged in ["", "X-Forwarded-For: 198.51.100.8\r\n", "X-Forwarded-For: 127.0.0.1\r\n"] {
            let (status, _) = knock_from("127.0.0.2", nginx.address(), forged).await;
            assert_eq!(status, 429, "{configuration}: a third, with {forged:?}");
        }
        drop(open);
        // The next configuration meets the same node, which learns of the end when nginx does.
        eventually("the places are free", async || {
            (knock_from("127.0.0.2", nginx.address(), "").await.0 == 101).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_chunk_of_the_largest_size_passes_and_the_node_judges_a_larger_one() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(1, &[]).await;
    for configuration in CONFIGURATIONS {
        let nginx = cluster.through_nginx(configuration);
        let (upload, _) = Upload::start(nginx.address(), json!({ "recordId": configuration })).await;
        assert_eq!(upload.put(0, webm()).await.status, 200, "{configuration}");
        let stored = upload.put(1, &vec![7; CHUNK_BYTES_MAX]).await;
        assert_eq!(stored.status, 200, "{configuration}: {stored:?}");
        let refused = upload.put(2, &vec![7; CHUNK_BYTES_MAX + 1]).await;
        assert_eq!(refused.refusal(), (413, "too_large".to_owned()), "{configuration}");
    }
}

#[tokio::test]
async fn the_node_can_refuse_a_body_before_it_has_come() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(1, &[]).await;
    for configuration in CONFIGURATIONS {
        let nginx = cluster.through_nginx(configuration);
        let mut stream = TcpStream::connect(nginx.address()).await.expect("nginx accepts connections");
        let head = format!(
            "PUT /recordings/mine/chunks/0 HTTP/1.1\r\nHost: {}\r\nContent-Length: {CHUNK_BYTES_MAX}\r\n\r\n",
            nginx.address()
        );
        stream.write_all(head.as_bytes()).await.expect("the connection is open");
        stream.write_all(&[7; 1024]).await.expect("the connection is open");
        assert_eq!(status(&mut stream).await, 401, "{configuration}");
    }
}

#[tokio::test]
async fn a_recording_is_made_and_played_through_nginx() {
    if !Nginx::is_here() {
        return;
    }
    let cluster = Cluster::apart(1, &[]).await;
    for configuration in CONFIGURATIONS {
        let nginx = cluster.through_nginx(configuration);
        let mut recorder = Recorder::start(nginx.address(), json!({ "recordId": configuration })).await;
        let chunks = [webm().to_vec()];
        recorder.store_all(0, &chunks).await;
        recorder.stop_and_wait(&chunks).await;
        let made = ready(nginx.address(), configuration).await;
        let whole = video(nginx.address(), &made).await;
        let link = made["downloadUrl"].as_str().expect("a link");
        let part = send(nginx.address(), &format!("GET {link}"), &[("Range", "bytes=100-199")], b"").await;
        assert_eq!(part.status, 206, "{configuration}: {part:?}");
        assert!(part.body == whole[100..200], "{configuration}");
        let tag = part.header("etag").expect("a validator").to_owned();
        let same = send(nginx.address(), &format!("GET {link}"), &[("If-None-Match", &tag)], b"").await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{configuration}");
    }
}
