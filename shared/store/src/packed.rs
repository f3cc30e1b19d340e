//! The stored form of messages, attempts and calls: compressed, since DynamoDB charges by the kilobyte written.
//!
//! Most of their content is the same each time: the names of fields and headers. So they are raw deflate streams (RFC 1951)
//! with a preset dictionary, as in RFC 1950, section 2.2. A message of one report has about 600 bytes, which become 150. An
//! attempt has as many, which become 200, and 35 for a second one after it.

use std::cell::RefCell;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::{Context as _, Error, Result};

/// A message of at most this size, in bytes, lies in the delivery's own item. Then creating and recording a delivery writes
/// one kilobyte each. The item's other attributes take some 400 bytes, and the attempts up to [`MAX_ATTEMPTS`].
pub(crate) const MAX_MESSAGE: usize = 256;

/// The same for the latest attempts together.
pub(crate) const MAX_ATTEMPTS: usize = 320;

/// The first byte says how the others are compressed.
const WITH_DICTIONARY: u8 = 1;

/// What the texts look like. It is needed to read what is stored, so no byte of it may ever change. Another dictionary needs
/// another first byte.
const DICTIONARY: &[u8] = br#"{"kind":"timeout","message":"the receiver did not answer within 10 seconds"}{"kind":"connect","message":"no connection: connection refused"}"status":404,"response":"Not Found","error":{"kind":"status","message":"the receiver answered 500"},"responseError":{"kind":"status":503,<html><head><title></title></head><body>{"message":"{"error":"{"ok":true}"sonar.analysis.buildNumber":"https://"branch":"main","qualityGate":"ERROR"},"taskId":"scmRevision":""properties":{"sonar.analysis."report.updated","revision":2,"report.deleted","revision":"deletedAt":"{"organizationId":"00000000-0000-0000-0000-000000000001","reports":[{"projectName":"","id":"","reportType":"OWASP Top 10","reportVersion":2021,"reportType":"CWE Top 25","reportVersion":2024,"projectVersion":"1.0.0","date":"2026-01-01T00:00:00+0000","uploadDate":"2026-11-26T00:00:00.0000000+00:00","vulnerabilitiesCount":0,"securityRating":"A","event":"report.published","revision":1,"projectKey":"","branch":"main","qualityGate":"OK","properties":{"sonar.analysis.buildNumber":""},"scmRevision":""}]}{"number":1,"at":"2026-11-26T00:00:00.0000000+00:00","durationMs":100,"status":204,"response":"","requestHeaders":{"authorization":"***","content-type":"application/json; charset=utf-8","user-agent":"SonarQube-Reports/0.1.0","webhook-id":"019ac0b3-","webhook-signature":"v1,","webhook-timestamp":"17","x-sonar-webhook-hmac-sha256":"","x-sonarqube-project":"","x-webhook-event":"report.published"}}"#;

/// The longest packed text, in bytes: a call of `CodeScoring` has up to 1 MiB.
const MAX_TEXT: usize = 1 << 20;

/// A text in its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed(Vec<u8>);

thread_local! {
    /// It has some 300 kB of tables, too much to make for each text.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    /// It has a window of 32 kB. Twelve pages of fresh memory cost more than the reading itself.
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

impl Packed {
    pub(crate) fn of(text: &str) -> Result<Self> {
        COMPRESS.with_borrow_mut(|compress| {
            compress.reset();
            compress
                .set_dictionary(DICTIONARY)
                .map_err(Error::new)
                .context("set the dictionary")?;
            let mut packed = Vec::with_capacity(text.len() / 2 + 64);
            packed.push(WITH_DICTIONARY);
            loop {
                let begin = usize::try_from(compress.total_in())?;
                let rest = text.as_bytes().get(begin..).unwrap_or_default();
                let status = compress.compress_vec(rest, &mut packed, FlushCompress::Finish);
                match status.map_err(Error::new).context("compress a text")? {
                    Status::StreamEnd => return Ok(Self(packed)),
                    Status::Ok | Status::BufError => packed.reserve(text.len() / 2 + 64),
                }
            }
        })
    }

    pub(crate) fn text(&self) -> Result<String> {
        let Some((&WITH_DICTIONARY, mut rest)) = self.0.split_first() else {
            return Err(Error::unreadable("a text is packed in an unknown way"));
        };
        let text = DECOMPRESS.with_borrow_mut(|decompress| {
            decompress.reset(false);
            decompress.set_dictionary(DICTIONARY).map_err(Error::new)?;
            let mut text = Vec::with_capacity(rest.len() * 4 + 64);
            loop {
                let before = decompress.total_in();
                let status = decompress.decompress_vec(rest, &mut text, FlushDecompress::Finish);
                match status.map_err(|_| Error::unreadable("a packed text is broken"))? {
                    Status::StreamEnd => return Ok(text),
                    Status::Ok | Status::BufError if text.len() < text.capacity() => {
                        return Err(Error::unreadable("a packed text has no end"));
                    }
                    Status::Ok | Status::BufError if text.len() > MAX_TEXT => {
                        return Err(Error::unreadable("a packed text is too long"));
                    }
                    Status::Ok | Status::BufError => text.reserve(text.len()),
                }
                let read = usize::try_from(decompress.total_in() - before)?;
                rest = rest.get(read..).unwrap_or_default();
            }
        })?;
        String::from_utf8(text).map_err(|_| Error::unreadable("a packed text is no text"))
    }

    pub(crate) fn fits(&self, most: usize) -> bool {
        self.0.len() <= most
    }

    /// The same in pieces of at most this many bytes.
    pub(crate) fn pieces(&self, most: usize) -> impl Iterator<Item = Self> {
        self.0.chunks(most).map(|piece| Self(piece.to_vec()))
    }

    /// Joins the pieces of [`Packed::pieces`].
    pub(crate) fn joined(pieces: Vec<Self>) -> Self {
        Self(pieces.into_iter().flat_map(|piece| piece.0).collect())
    }

    /// The attribute for DynamoDB.
    pub(crate) fn attribute(&self) -> AttributeValue {
        AttributeValue::B(Blob::new(self.0.clone()))
    }

    pub(crate) fn read(attribute: AttributeValue) -> Result<Self> {
        match attribute {
            AttributeValue::B(bytes) => Ok(Self(bytes.into_inner())),
            _ => Err(Error::unreadable("a packed text is no binary")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    proptest! {
        #[test]
        fn every_text_comes_back(text in r"\PC{0,2000}") {
            prop_assert_eq!(Packed::of(&text).unwrap().text().unwrap(), text);
        }

        #[test]
        fn what_repeats_comes_back_too(part in r"\PC{1,20}", times in 0..5000_usize) {
            let text = part.repeat(times);
            prop_assert_eq!(Packed::of(&text).unwrap().text().unwrap(), text);
        }
    }

    #[test]
    fn what_was_stored_is_read_for_ever() {
        // Whoever changes a byte of it cannot read any more what was stored by it: another one gets another first byte.
        assert_eq!(
            hex::encode(Sha256::digest(DICTIONARY)),
            "c122ca75db9db64b384bbbca1992cc4987c747c8f8f64f4812dc06c829877332"
        );
        let text = r#"{"organizationId":"00000000-0000-0000-0000-000000000001","reports":[]}"#;
        let stored = hex::decode("01a3460e8cad0500").unwrap();
        assert_eq!(Packed(stored).text().unwrap(), text);
    }

    #[test]
    fn what_is_no_packed_text_is_refused() {
        let packed = Packed::of("a text of some length, of some length")
            .unwrap()
            .0;
        for broken in [
            Vec::new(),
            vec![2],
            vec![WITH_DICTIONARY],
            packed[..packed.len() - 1].to_vec(),
            vec![WITH_DICTIONARY, 0xff, 0xff],
        ] {
            let error = Packed(broken.clone()).text().unwrap_err();
            assert!(error.is_unreadable(), "{broken:?}: {error}");
        }
        // It grows to more than anything that was packed.
        let bomb = Packed::of(&"a".repeat(4 * MAX_TEXT)).unwrap();
        assert!(bomb.text().unwrap_err().is_unreadable());
    }
}
