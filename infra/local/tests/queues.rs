//! What the queues of a stack know after a restart. How it ends makes no difference to them: nothing is written at the end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use aws_sdk_sqs::types::{Message, SendMessageBatchRequestEntry};
use local::{Options, Stack};

const QUEUE: &str = "EventsQueue";
const DEAD_LETTERS: &str = "EventsDeadLetterQueue";
/// template.yaml: `maxReceiveCount`.
const MAX_RECEIVES: usize = 5;

/// A stack that delivers nothing.
async fn start(data: &Path) -> Stack {
    let options = Options {
        data: Some(data.to_owned()),
        ..Options::default()
    };
    Stack::start(options).await.unwrap()
}

async fn send(stack: &Stack, body: &str) {
    let send = stack.sqs.send_message().queue_url(&stack.queues[QUEUE]);
    send.message_body(body).send().await.unwrap();
}

/// Everything that can be received now, which nobody else then receives for some seconds.
async fn receive(stack: &Stack, queue: &str, seconds: i32) -> Vec<Message> {
    let receive = stack.sqs.receive_message().queue_url(&stack.queues[queue]);
    let receive = receive
        .max_number_of_messages(10)
        .visibility_timeout(seconds);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

async fn bodies(stack: &Stack, queue: &str) -> Vec<String> {
    let received = receive(stack, queue, 60).await;
    received.into_iter().map(|it| it.body.unwrap()).collect()
}

async fn delete(stack: &Stack, message: &Message) {
    let delete = stack.sqs.delete_message().queue_url(&stack.queues[QUEUE]);
    let receipt = message.receipt_handle.clone().unwrap();
    delete.receipt_handle(receipt).send().await.unwrap();
}

#[tokio::test]
async fn what_is_on_a_queue_comes_again_after_each_restart() {
    let data = tempfile::tempdir().unwrap();
    let stack = start(data.path()).await;
    send(&stack, "in flight").await;
    assert_eq!(bodies(&stack, QUEUE).await, ["in flight"]);
    let entry = |id: &str, delay| {
        let entry = SendMessageBatchRequestEntry::builder().id(id);
        let entry = entry.message_body(id).delay_seconds(delay);
        entry.build().unwrap()
    };
    let batch = stack.sqs.send_message_batch();
    let batch = batch.queue_url(&stack.queues[QUEUE]);
    let batch = batch.entries(entry("delayed", 900));
    batch.entries(entry("waiting", 0)).send().await.unwrap();
    stack.stop().await;

    for _ in 0..2 {
        let stack = start(data.path()).await;
        let came = bodies(&stack, QUEUE).await;
        assert_eq!(came, ["in flight", "delayed", "waiting"]);
        stack.stop().await;
    }
}

#[tokio::test]
async fn what_was_deleted_does_not_come_again() {
    let data = tempfile::tempdir().unwrap();
    let stack = start(data.path()).await;
    for body in ["one", "two", "three"] {
        send(&stack, body).await;
    }
    let received = receive(&stack, QUEUE, 60).await;
    delete(&stack, &received[0]).await;
    stack.stop().await;

    let stack = start(data.path()).await;
    let received = receive(&stack, QUEUE, 60).await;
    assert_eq!(received.len(), 2);
    let batch = stack.sqs.delete_message_batch();
    let entry = aws_sdk_sqs::types::DeleteMessageBatchRequestEntry::builder().id("two");
    let entry = entry.set_receipt_handle(received[0].receipt_handle.clone());
    let batch = batch.queue_url(&stack.queues[QUEUE]);
    batch.entries(entry.build().unwrap()).send().await.unwrap();
    stack.stop().await;

    let stack = start(data.path()).await;
    assert_eq!(bodies(&stack, QUEUE).await, ["three"]);
    let purge = stack.sqs.purge_queue().queue_url(&stack.queues[QUEUE]);
    purge.send().await.unwrap();
    stack.stop().await;

    let stack = start(data.path()).await;
    assert!(bodies(&stack, QUEUE).await.is_empty());
}

/// Whoever has it now may fail, and then it has to come again.
#[tokio::test]
async fn a_receipt_of_an_earlier_receive_deletes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let stack = start(data.path()).await;
    send(&stack, "one").await;
    let earlier = receive(&stack, QUEUE, 0).await;
    assert_eq!(bodies(&stack, QUEUE).await, ["one"]);
    delete(&stack, &earlier[0]).await;
    stack.stop().await;

    let stack = start(data.path()).await;
    assert_eq!(bodies(&stack, QUEUE).await, ["one"]);
}

#[tokio::test]
async fn a_dead_letter_stays_one() {
    let data = tempfile::tempdir().unwrap();
    let stack = start(data.path()).await;
    send(&stack, "moved").await;
    for _ in 0..MAX_RECEIVES {
        assert_eq!(receive(&stack, QUEUE, 0).await.len(), 1);
    }
    assert!(bodies(&stack, QUEUE).await.is_empty());
    send(&stack, "about to be moved").await;
    for _ in 0..MAX_RECEIVES {
        assert_eq!(receive(&stack, QUEUE, 0).await.len(), 1);
    }
    send(&stack, "well").await;
    stack.stop().await;

    for _ in 0..2 {
        let stack = start(data.path()).await;
        assert_eq!(bodies(&stack, QUEUE).await, ["well"]);
        let dead = bodies(&stack, DEAD_LETTERS).await;
        assert_eq!(dead, ["moved", "about to be moved"]);
        stack.stop().await;
    }
}

#[tokio::test]
async fn receives_of_before_a_restart_do_not_count() {
    let data = tempfile::tempdir().unwrap();
    for _ in 0..=MAX_RECEIVES {
        let stack = start(data.path()).await;
        if stack
            .deliver(time::OffsetDateTime::UNIX_EPOCH)
            .await
            .unwrap()
            == 0
        {
            send(&stack, "nothing that can be read").await;
        }
        stack.stop().await;
    }
    let stack = start(data.path()).await;
    let came = bodies(&stack, QUEUE).await;
    assert_eq!(came, ["nothing that can be read"]);
}
