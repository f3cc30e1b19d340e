//! Connections that are used again, and what it means when one turns out to be closed.

use super::*;

#[tokio::test]
async fn a_connection_is_used_again() {
    let mut receiver = receiver(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        Then::ReadOn,
    )
    .await;
    let sender = Sender::new(OPTIONS).unwrap();
    for _ in 0..2 {
        let exchange = send(&sender, format!("http://{}/", receiver.address)).await;
        assert_eq!(exchange.failure, None);
        let (connection, _) = receiver.requests.recv().await.unwrap();
        assert_eq!(connection, 0);
    }
}

/// A receiver that answers the first request on each of its first connections, and then closes the connection without an
/// answer to the second one. From the connection `good_from` on it answers all. Gives the connections' numbers of requests.
async fn lingering(good_from: usize) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                for on_this in 0.. {
                    let Some(request) = read_request(&mut stream).await else {
                        return;
                    };
                    let _ = sender.send((number, request));
                    if on_this > 0 && number < good_from {
                        return;
                    }
                    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    Receiver { address, requests }
}

#[tokio::test]
async fn a_used_connection_that_is_closed_costs_one_more_request_and_no_failure() {
    let mut receiver = lingering(1).await;
    let sender = Sender::new(OPTIONS).unwrap();
    let to = format!("http://{}/", receiver.address);
    let exchanges = [send(&sender, &to).await, send(&sender, &to).await];
    for exchange in &exchanges {
        assert_eq!((exchange.status, kind(exchange)), (Some(204), None));
    }
    let mut connections = Vec::new();
    let mut bodies = Vec::new();
    while let Ok((connection, request)) = receiver.requests.try_recv() {
        connections.push(connection);
        bodies.push(request);
    }
    assert_eq!(connections, [0, 0, 1]);
    assert_eq!(bodies[1], bodies[2], "it is the same request");
}

#[tokio::test]
async fn a_new_connection_that_is_closed_is_the_receivers_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = sender.send(read_request(&mut stream).await);
        }
    });
    let exchange = post(OPTIONS, format!("http://{address}/")).await;
    assert_eq!(kind(&exchange), Some(FailureKind::Connect));
    assert!(requests.try_recv().is_ok());
    assert!(requests.try_recv().is_err(), "it was sent once");
}
