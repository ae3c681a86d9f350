//! Alpaca discovery and the management API on real sockets of this machine.

#![cfg(feature = "alpaca")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

use alidade_drivers::alpaca::discovery;
use std::{net::Ipv4Addr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Answers the management API; one request a connection.
async fn manage(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = vec![0; 4096];
        let count = stream.read(&mut request).await.unwrap();
        let line = String::from_utf8_lossy(&request[..count])
            .lines()
            .next()
            .unwrap()
            .to_owned();
        let value = if line.contains("/management/apiversions") {
            "[1]"
        } else if line.contains("/management/v1/description") {
            r#"{"ServerName":"Bench","Manufacturer":"nobody","ManufacturerVersion":"0.1","Location":"here"}"#
        } else if line.contains("/management/v1/configureddevices") {
            r#"[{"DeviceName":"Roof","DeviceType":"Dome","DeviceNumber":0,"UniqueID":"u-1"},{"DeviceName":"Eye","DeviceType":"Camera","DeviceNumber":1,"UniqueID":"u-2"}]"#
        } else {
            panic!("{line}")
        };
        let body = format!(r#"{{"ClientTransactionID":1,"ServerTransactionID":1,"Value":{value}}}"#);
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_is_found_once_and_says_what_it_serves_and_noise_is_not_heard() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let served = listener.local_addr().unwrap();
    let asked = UdpSocket::bind((HERE, 0)).await.unwrap();
    let port = asked.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        let mut question = [0; 64];
        let (count, from) = asked.recv_from(&mut question).await.unwrap();
        assert_eq!(&question[..count], b"alpacadiscovery1");
        let answer = format!("{{\"AlpacaPort\":{}}}", served.port());
        for datagram in [
            &b"hello"[..],
            answer.as_bytes(),
            b"{\"AlpacaPort\":0}",
            answer.as_bytes(),
        ] {
            asked.send_to(datagram, from).await.unwrap();
        }
    });
    let managing = tokio::spawn(manage(listener));
    let found = discovery::discover(HERE, port, Duration::from_millis(400))
        .await
        .unwrap();
    answering.await.unwrap();
    assert_eq!(found, [served]);
    let server = discovery::server(served).await.unwrap();
    assert_eq!((server.name.as_str(), server.version.as_str()), ("Bench", "0.1"));
    let offered: Vec<(&str, u32)> = server.devices.iter().map(|d| (d.kind.as_str(), d.number)).collect();
    assert_eq!(offered, [("Dome", 0), ("Camera", 1)]);
    managing.abort();
    assert!(managing.await.unwrap_err().is_cancelled());
    assert!(discovery::server(served).await.is_err(), "nobody is there any more");
}
