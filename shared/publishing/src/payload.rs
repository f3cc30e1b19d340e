//! The stored form of a file. It is compressed once, at publication, so that a download copies bytes and computes nothing.
//!
//! HTML becomes a gzip member (RFC 1952) with a fixed header of ten bytes. Between header and trailer is the deflate stream
//! that a ZIP entry holds, and a browser takes the whole with `Content-Encoding: gzip`. So one object serves both. A PDF is
//! compressed in itself and is stored unchanged.

use std::io::Write as _;

use anyhow::Context as _;
use domain::report::Method;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use sha2::{Digest as _, Sha256};

/// Magic, deflate, no flags, no time, no extra flags, unknown system (RFC 1952, section 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// CRC-32 and size, four bytes each.
const GZIP_TRAILER_BYTES: u64 = 8;

/// What is known of a file after its stored form is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// How it is compressed.
    pub(crate) method: Method,
    /// Where the payload begins in the object, in bytes.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// CRC-32 of the file.
    pub(crate) crc32: u32,
    /// The file's length in bytes.
    pub(crate) size: u64,
    /// SHA-256 of the file in lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

/// Makes the stored form of a file from its chunks.
///
/// Its memory is bounded by the bytes that the caller has not taken yet, not by the file.
pub(crate) struct PayloadWriter {
    method: Method,
    sha256: Sha256,
    crc32: crc32fast::Hasher,
    size: u64,
    taken: u64,
    encoder: Encoder,
}

impl PayloadWriter {
    /// The writer of a file that is stored by this method.
    pub(crate) fn new(method: Method) -> Self {
        let encoder = Encoder::new(method);
        Self {
            method,
            sha256: Sha256::new(),
            crc32: crc32fast::Hasher::new(),
            size: 0,
            taken: 0,
            encoder,
        }
    }

    /// Adds the file's next bytes.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> anyhow::Result<()> {
        self.sha256.update(chunk);
        self.crc32.update(chunk);
        self.size += chunk.len() as u64;
        self.encoder.write(chunk)
    }

    /// The finished bytes of the stored form, if there are `at_least` this many.
    pub(crate) fn take(&mut self, at_least: usize) -> Option<Vec<u8>> {
        let ready = self.encoder.ready();
        if ready.len() < at_least {
            return None;
        }
        self.taken += ready.len() as u64;
        Some(std::mem::take(ready))
    }

    /// What is known of the file, and the last bytes of its stored form.
    pub(crate) fn finish(self) -> anyhow::Result<(Payload, Vec<u8>)> {
        let crc32 = self.crc32.finalize();
        let last = self.encoder.finish(crc32, self.size)?;
        let (offset, around) = match self.method {
            Method::Stored => (0, 0),
            Method::Deflated => (
                GZIP_HEADER.len() as u64,
                GZIP_HEADER.len() as u64 + GZIP_TRAILER_BYTES,
            ),
        };
        let payload = Payload {
            method: self.method,
            offset,
            length: self.taken + last.len() as u64 - around,
            crc32,
            size: self.size,
            sha256: hex::encode(self.sha256.finalize()),
        };
        Ok((payload, last))
    }
}

enum Encoder {
    Stored(Vec<u8>),
    Deflated(DeflateEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(method: Method) -> Self {
        match method {
            Method::Stored => Self::Stored(Vec::new()),
            Method::Deflated => Self::Deflated(DeflateEncoder::new(
                GZIP_HEADER.to_vec(),
                Compression::default(),
            )),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stored(ready) => ready.extend_from_slice(bytes),
            Self::Deflated(encoder) => encoder.write_all(bytes).context("compress a file")?,
        }
        Ok(())
    }

    fn ready(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Stored(ready) => ready,
            Self::Deflated(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self, crc32: u32, size: u64) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Stored(ready) => Ok(ready),
            Self::Deflated(encoder) => {
                let mut ready = encoder.finish().context("compress the end of a file")?;
                ready.extend_from_slice(&crc32.to_le_bytes());
                // Modulo 2^32 (RFC 1952, section 2.3.1).
                ready.extend_from_slice(&(size as u32).to_le_bytes());
                Ok(ready)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::{DeflateDecoder, MultiGzDecoder};
    use proptest::prelude::*;
    use std::io::Read as _;

    fn stored(method: Method, file: &[u8], chunk: usize, run: usize) -> (Payload, Vec<u8>) {
        let mut object = Vec::new();
        let mut writer = PayloadWriter::new(method);
        for chunk in file.chunks(chunk) {
            writer.write(chunk).unwrap();
            object.extend(writer.take(run).unwrap_or_default());
        }
        let (payload, last) = writer.finish().unwrap();
        object.extend(last);
        (payload, object)
    }

    proptest! {
        #[test]
        fn one_object_is_a_gzip_file_and_holds_a_deflate_stream(
            file in prop_oneof![prop::collection::vec(any::<u8>(), 0..5000), "(<p>text</p>\n){0,400}".prop_map(String::into_bytes)],
            chunk in 1..700_usize,
            run in 1..3000_usize,
        ) {
            let (payload, object) = stored(Method::Deflated, &file, chunk, run);

            let mut gunzipped = Vec::new();
            MultiGzDecoder::new(object.as_slice()).read_to_end(&mut gunzipped).unwrap();
            prop_assert_eq!(&gunzipped, &file);

            let (from, to) = (payload.offset as usize, (payload.offset + payload.length) as usize);
            prop_assert_eq!(object.len(), to + 8);
            let mut inflated = Vec::new();
            let mut decoder = DeflateDecoder::new(&object[from..to]);
            decoder.read_to_end(&mut inflated).unwrap();
            prop_assert_eq!(&inflated, &file);
            prop_assert_eq!(decoder.total_in(), payload.length);

            prop_assert_eq!(payload.crc32, crc32fast::hash(&file));
            prop_assert_eq!(payload.size, file.len() as u64);
            prop_assert_eq!(payload.sha256, hex::encode(Sha256::digest(&file)));

            let (plain, object) = stored(Method::Stored, &file, chunk, run);
            prop_assert_eq!((plain.offset, plain.length), (0, file.len() as u64));
            prop_assert_eq!(object, file);
        }
    }
}
