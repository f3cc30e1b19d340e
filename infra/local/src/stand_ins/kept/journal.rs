//! What is on the queues, in a database.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

/// `position` is the order in which the messages came. `id` is the stand-in's, and null until the message is on its queue
/// again; `receipt` is that of its latest receive. Both, and the number of receives, are of this process.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        position INTEGER PRIMARY KEY,
        queue TEXT NOT NULL,
        message TEXT NOT NULL,
        id TEXT UNIQUE,
        receipt TEXT UNIQUE,
        receives INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    UPDATE messages SET id = NULL, receipt = NULL, receives = 0;
";

/// The messages of all queues. Its calls write at once, which takes less than a millisecond.
#[derive(Debug)]
pub(super) struct Journal(Connection);

/// A message that is in the journal, and not yet on its queue again.
#[derive(Debug)]
pub(super) struct Left {
    position: i64,
    /// The request that brought it, as JSON.
    pub(super) message: String,
}

/// Where a queue's messages go that have been received too often.
#[derive(Debug)]
pub(super) struct Redrive {
    /// How many times one may be received.
    pub(super) after: i32,
    /// The dead-letter queue.
    pub(super) to: String,
}

impl Journal {
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let connection = match path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        };
        let connection = connection.context("open the journal of the queues")?;
        // What was written outlives the process. In a power cut the latest may be lost, since waiting for the disk each
        // time would slow down every publication.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let schema = connection.execute_batch(SCHEMA);
        schema.context("read the journal of the queues")?;
        Ok(Self(connection))
    }

    /// What is to be put on this queue again, in the order in which it came.
    pub(super) fn left(&self, queue: &str) -> Result<Vec<Left>> {
        let mut query = self.0.prepare_cached(
            "SELECT position, message FROM messages WHERE queue = ? AND id IS NULL ORDER BY position",
        )?;
        let left = query.query_map([queue], |row| {
            Ok(Left {
                position: row.get(0)?,
                message: row.get(1)?,
            })
        })?;
        left.collect()
    }

    /// The message is on its queue again, with this id.
    pub(super) fn put_back(&self, left: &Left, id: &str) -> Result<()> {
        let update = "UPDATE messages SET id = ? WHERE position = ?";
        self.0.execute(update, params![id, left.position])?;
        Ok(())
    }

    /// The queue has these messages, each an id and the request that brought it.
    pub(super) fn add<'a>(
        &mut self,
        queue: &str,
        messages: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<()> {
        let transaction = self.0.transaction()?;
        for (id, message) in messages {
            let insert = "INSERT INTO messages (queue, message, id) VALUES (?, ?, ?)";
            transaction.execute(insert, params![queue, message, id])?;
        }
        transaction.commit()
    }

    /// Somebody received these messages, each an id and a receipt. One that must not be received again counts as a dead
    /// letter from now on, though it is still being handled: that is where it would be after a kill.
    pub(super) fn received<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (&'a str, &'a str)>,
        redrive: Option<&Redrive>,
    ) -> Result<()> {
        let transaction = self.0.transaction()?;
        for (id, receipt) in messages {
            let update = "UPDATE messages SET receipt = ?, receives = receives + 1 WHERE id = ?
                          RETURNING receives";
            let receives = transaction
                .query_row(update, params![receipt, id], |row| row.get::<_, i32>(0))
                .optional()?;
            match redrive {
                Some(redrive) if receives >= Some(redrive.after) => {
                    let update = "UPDATE messages SET queue = ? WHERE id = ?";
                    transaction.execute(update, params![redrive.to, id])?;
                }
                _ => {}
            }
        }
        transaction.commit()
    }

    /// The messages with these receipts were deleted. As on AWS, only the receipt of the latest receive deletes one.
    pub(super) fn remove<'a>(&mut self, receipts: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let transaction = self.0.transaction()?;
        for receipt in receipts {
            transaction.execute("DELETE FROM messages WHERE receipt = ?", [receipt])?;
        }
        transaction.commit()
    }

    /// Nothing is on this queue any more.
    pub(super) fn clear(&self, queue: &str) -> Result<()> {
        let delete = "DELETE FROM messages WHERE queue = ?";
        self.0.execute(delete, [queue])?;
        Ok(())
    }
}
