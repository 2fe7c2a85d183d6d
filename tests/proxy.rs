//! The proxy that stands for the network in tests of a cluster can do what they ask of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is how a test fails")]

mod support;

use std::{io::ErrorKind, time::Duration};

use support::{Proxy, eventually, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

/// Long enough to be told from none at all.
const DELAY: Duration = Duration::from_millis(200);

/// A proxy to somebody who says back whatever it is told.
async fn to_an_echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    Proxy::start(address)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    within("a connection", TcpStream::connect(proxy.address())).await.expect("the proxy accepts connections")
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the connection is open");
}

async fn expect(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    within("an echo", stream.read_exact(&mut heard)).await.expect("the connection is open");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// How a connection ended from which nothing is to come.
async fn end(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    within("the end", stream.read(&mut [0; 16])).await.map_err(|error| error.kind())
}

#[tokio::test]
async fn a_cut_resets_what_there_is_and_what_comes_until_it_is_healed() {
    let proxy = to_an_echo().await;
    let mut before = connect(&proxy).await;
    say(&mut before, "before").await;
    expect(&mut before, "before").await;
    proxy.cut();
    assert_eq!(end(&mut before).await, Err(ErrorKind::ConnectionReset));
    // A reset may come before or after the connection is there.
    if let Ok(mut meanwhile) = TcpStream::connect(proxy.address()).await {
        assert_eq!(end(&mut meanwhile).await, Err(ErrorKind::ConnectionReset));
    }
    proxy.heal();
    let mut after = connect(&proxy).await;
    say(&mut after, "after").await;
    expect(&mut after, "after").await;
}

#[tokio::test]
async fn silence_tells_nobody_and_passes_everything_on_afterwards() {
    let proxy = to_an_echo().await;
    let mut before = connect(&proxy).await;
    say(&mut before, "before").await;
    expect(&mut before, "before").await;
    proxy.silence();
    let mut meanwhile = connect(&proxy).await;
    for stream in [&mut before, &mut meanwhile] {
        say(stream, "hello").await;
        let heard = timeout(DELAY, stream.read(&mut [0; 16])).await;
        assert!(heard.is_err(), "nothing comes, and no end either: {heard:?}");
    }
    proxy.heal();
    expect(&mut before, "hello").await;
    expect(&mut meanwhile, "hello").await;
}

#[tokio::test]
async fn a_slow_line_is_late_and_keeps_the_order() {
    let proxy = to_an_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.delay(DELAY);
    let asked = Instant::now();
    for word in ["one ", "two ", "three"] {
        say(&mut stream, word).await;
    }
    expect(&mut stream, "one two three").await;
    assert!(asked.elapsed() >= 2 * DELAY, "there and back: {:?}", asked.elapsed());
    proxy.heal();
    say(&mut stream, "four").await;
    expect(&mut stream, "four").await;
}

#[tokio::test]
async fn an_end_in_good_order_is_passed_on_as_one() {
    let proxy = to_an_echo().await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "goodbye").await;
    stream.shutdown().await.expect("the connection is open");
    expect(&mut stream, "goodbye").await;
    assert_eq!(end(&mut stream).await, Ok(0));
}

#[tokio::test]
async fn a_dropped_proxy_is_gone() {
    let proxy = to_an_echo().await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "hello").await;
    expect(&mut stream, "hello").await;
    let address = proxy.address();
    drop(proxy);
    assert!(matches!(end(&mut stream).await, Ok(0) | Err(ErrorKind::ConnectionReset)));
    eventually("nobody listens", async || {
        let refused = TcpStream::connect(address).await.map_err(|error| error.kind());
        matches!(refused, Err(ErrorKind::ConnectionRefused)).then_some(())
    })
    .await;
}
