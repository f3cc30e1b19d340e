//! ZIP archives that are planned, not zipped.
//!
//! An archive follows from its entries: name, time, CRC-32 and both sizes of each. All of that is known before a byte of a
//! file is read. So the length, the entity tag and every byte range of the archive are known too, and making the archive is
//! copying.
//!
//! The format is PKWARE's APPNOTE 6.3.10; numbers in brackets are its sections. Readers of an archive may rely on this:
//!
//! - Local headers have the real CRC and sizes, and there are no data descriptors: Java and macOS refuse stored entries that
//!   have them.
//! - A zip64 field is present only where a value needs it [4.3.14, 4.5.3].
//! - Bit 11 is set only for names that are not ASCII [4.4.4, appendix D].
//! - The time is given twice: as DOS time in UTC, and exactly as the extended timestamp 0x5455 (Info-ZIP, `extrafld.txt`).

use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};
use domain::report::Method;
use sha2::{Digest as _, Sha256};
use time::{OffsetDateTime, UtcOffset};

/// This value of a 32-bit field says that the zip64 field has the value.
const IN_ZIP64: u32 = u32::MAX;
/// The same for a 16-bit field.
const IN_ZIP64_16: u16 = u16::MAX;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_END_LOCATOR: u32 = 0x0706_4b50;

const ZIP64_FIELD: u16 = 0x0001;
const EXTENDED_TIMESTAMP_FIELD: u16 = 0x5455;
const MODIFICATION_TIME_ONLY: u8 = 1;

const NAME_IS_UTF8: u16 = 1 << 11;
/// "Made by" a Unix system [4.4.2], whose file modes are in the upper half of the external attributes.
const MADE_BY_UNIX: u16 = 3 << 8;
/// A regular file that its owner may write and everybody may read.
const FILE_MODE: u32 = 0o100_644;

/// One file of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The path within the archive, with `/` between folders; below 65,536 bytes.
    pub name: String,
    /// When the file was last changed.
    pub modified: OffsetDateTime,
    /// How the content is compressed.
    pub method: Method,
    /// CRC-32 of the uncompressed file.
    pub crc32: u32,
    /// The length of the uncompressed file in bytes.
    pub size: u64,
    /// The length of the content in bytes.
    pub compressed_size: u64,
    /// The content in the archive.
    pub content: Content,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// A part of an object in the bucket.
    Object(Object),
}

/// A part of an object in the bucket, from an offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The object's key.
    pub key: String,
    /// The object's version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// In bytes.
    pub offset: u64,
}

/// A run of bytes of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes.
    Bytes(Bytes),
    /// A part of an object.
    Object {
        /// The object, and where the part begins.
        object: Object,
        /// In bytes; never 0.
        length: u64,
    },
}

impl Segment {
    /// In bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Object { length, .. } => *length,
        }
    }

    fn slice(&self, range: Range<u64>) -> Self {
        match self {
            // The range lies within bytes in memory.
            Self::Bytes(bytes) => {
                Self::Bytes(bytes.slice(range.start as usize..range.end as usize))
            }
            Self::Object { object, .. } => Self::Object {
                object: Object {
                    offset: object.offset + range.start,
                    ..object.clone()
                },
                length: range.end - range.start,
            },
        }
    }
}

/// The plan of an archive or a file: everything except the bytes in the bucket.
#[derive(Debug)]
pub struct Plan {
    /// Each with the position of its first byte.
    segments: Vec<(u64, Segment)>,
    length: u64,
    etag: String,
}

impl Plan {
    /// Plans the archive of these entries, in this order.
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut plan = Self {
            segments: Vec::with_capacity(entries.len() * 2 + 1),
            length: 0,
            etag: String::new(),
        };
        let mut digest = Sha256::new();
        let mut central = BytesMut::new();
        let count = entries.len() as u64;
        for entry in entries {
            let offset = plan.length;
            let header = local_header(&entry);
            put_central_header(&mut central, &entry, offset);
            digest.update(&header);
            plan.push(Segment::Bytes(header));
            plan.push(match entry.content {
                Content::Bytes(bytes) => {
                    digest.update(&bytes);
                    Segment::Bytes(bytes)
                }
                Content::Object(object) => {
                    // Objects never change, so their names stand for their bytes.
                    digest.update(
                        serde_json::json!([object.key, object.version_id, object.offset])
                            .to_string(),
                    );
                    Segment::Object {
                        object,
                        length: entry.compressed_size,
                    }
                }
            });
        }
        put_end(&mut central, count, plan.length);
        digest.update(&central);
        plan.push(Segment::Bytes(central.freeze()));
        plan.etag = format!("\"{}\"", hex::encode(&digest.finalize()[..16]));
        plan
    }

    /// The plan to send this many bytes of one object, unchanged.
    pub fn of_object(object: Object, length: u64) -> Self {
        let name = serde_json::json!([object.key, object.version_id, object.offset, length]);
        let digest = Sha256::digest(name.to_string());
        let mut plan = Self {
            segments: Vec::new(),
            length: 0,
            etag: format!("\"{}\"", hex::encode(&digest[..16])),
        };
        plan.push(Segment::Object { object, length });
        plan
    }

    fn push(&mut self, segment: Segment) {
        let length = segment.length();
        if length > 0 {
            self.segments.push((self.length, segment));
            self.length += length;
        }
    }

    /// The length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A strong entity tag (RFC 9110, section 8.8.3), with its quotes. Plans with the same tag have the same bytes.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The bytes of a range within the plan. No segment is empty.
    pub fn slice(&self, range: Range<u64>) -> Vec<Segment> {
        debug_assert!(range.start <= range.end && range.end <= self.length);
        let first = self
            .segments
            .partition_point(|(start, segment)| start + segment.length() <= range.start);
        self.segments[first..]
            .iter()
            .take_while(|(start, _)| *start < range.end && !range.is_empty())
            .map(|(start, segment)| {
                let from = range.start.saturating_sub(*start);
                let to = (range.end - start).min(segment.length());
                segment.slice(from..to)
            })
            .collect()
    }
}

/// [4.3.7]
fn local_header(entry: &Entry) -> Bytes {
    let zip64 = entry.size >= u64::from(IN_ZIP64) || entry.compressed_size >= u64::from(IN_ZIP64);
    let mut extra = BytesMut::new();
    if zip64 {
        // A local header must have both sizes, even if only one is needed [4.5.3].
        extra.put_u16_le(ZIP64_FIELD);
        extra.put_u16_le(16);
        extra.put_u64_le(entry.size);
        extra.put_u64_le(entry.compressed_size);
    }
    put_extended_timestamp(&mut extra, entry);

    let mut header = BytesMut::with_capacity(30 + entry.name.len() + extra.len());
    header.put_u32_le(LOCAL_HEADER);
    put_common_fields(
        &mut header,
        entry,
        zip64,
        zip64.then_some(IN_ZIP64),
        extra.len(),
    );
    header.put_slice(entry.name.as_bytes());
    header.put_slice(&extra);
    header.freeze()
}

/// [4.3.12]
fn put_central_header(central: &mut BytesMut, entry: &Entry, offset: u64) {
    // The zip64 field here has only the values that need it, in this order [4.5.3].
    let large: Vec<u64> = [entry.size, entry.compressed_size, offset]
        .into_iter()
        .filter(|&value| value >= u64::from(IN_ZIP64))
        .collect();
    let mut extra = BytesMut::new();
    if !large.is_empty() {
        extra.put_u16_le(ZIP64_FIELD);
        extra.put_u16_le(8 * large.len() as u16);
        large.iter().for_each(|&value| extra.put_u64_le(value));
    }
    put_extended_timestamp(&mut extra, entry);

    central.put_u32_le(CENTRAL_HEADER);
    central.put_u16_le(MADE_BY_UNIX | version_needed(entry, !large.is_empty()));
    put_common_fields(central, entry, !large.is_empty(), None, extra.len());
    central.put_u16_le(0); // no comment
    central.put_u16_le(0); // on the first disk
    central.put_u16_le(0); // no internal attributes
    central.put_u32_le(FILE_MODE << 16);
    central.put_u32_le(saturate(offset));
    central.put_slice(entry.name.as_bytes());
    central.put_slice(&extra);
}

/// The common fields of the local and the central header, from "version needed" to the lengths of name and extra field.
/// `sizes`, if given, replaces both sizes.
fn put_common_fields(
    header: &mut BytesMut,
    entry: &Entry,
    zip64: bool,
    sizes: Option<u32>,
    extra_length: usize,
) {
    let (dos_time, dos_date) = dos_date_time(entry.modified);
    header.put_u16_le(version_needed(entry, zip64));
    header.put_u16_le(if entry.name.is_ascii() {
        0
    } else {
        NAME_IS_UTF8
    });
    header.put_u16_le(match entry.method {
        Method::Stored => 0,
        Method::Deflated => 8,
    });
    header.put_u16_le(dos_time);
    header.put_u16_le(dos_date);
    header.put_u32_le(entry.crc32);
    header.put_u32_le(sizes.unwrap_or_else(|| saturate(entry.compressed_size)));
    header.put_u32_le(sizes.unwrap_or_else(|| saturate(entry.size)));
    debug_assert!(entry.name.len() <= usize::from(u16::MAX));
    header.put_u16_le(entry.name.len() as u16);
    header.put_u16_le(extra_length as u16);
}

/// [4.4.3]
fn version_needed(entry: &Entry, zip64: bool) -> u16 {
    match (zip64, entry.method) {
        (true, _) => 45,
        (false, Method::Deflated) => 20,
        (false, Method::Stored) => 10,
    }
}

/// The end of the central directory [4.3.14 to 4.3.16]. The directory begins at `offset`, and `central` holds all of it so
/// far.
fn put_end(central: &mut BytesMut, count: u64, offset: u64) {
    let size = central.len() as u64;
    let large = [size, offset]
        .iter()
        .any(|&value| value >= u64::from(IN_ZIP64));
    if large || count >= u64::from(IN_ZIP64_16) {
        /// The size of this record without its signature and this number.
        const RECORD_SIZE: u64 = 44;
        central.put_u32_le(ZIP64_END);
        central.put_u64_le(RECORD_SIZE);
        central.put_u16_le(MADE_BY_UNIX | 45);
        central.put_u16_le(45);
        central.put_u32_le(0); // this disk
        central.put_u32_le(0); // the disk with the directory
        central.put_u64_le(count); // on this disk
        central.put_u64_le(count);
        central.put_u64_le(size);
        central.put_u64_le(offset);

        central.put_u32_le(ZIP64_END_LOCATOR);
        central.put_u32_le(0); // the disk with the record above
        central.put_u64_le(offset + size);
        central.put_u32_le(1); // disks in all
    }
    let count = count.min(u64::from(IN_ZIP64_16)) as u16;
    central.put_u32_le(END);
    central.put_u16_le(0); // this disk
    central.put_u16_le(0); // the disk with the directory
    central.put_u16_le(count); // on this disk
    central.put_u16_le(count);
    central.put_u32_le(saturate(size));
    central.put_u32_le(saturate(offset));
    central.put_u16_le(0); // no comment
}

fn put_extended_timestamp(extra: &mut BytesMut, entry: &Entry) {
    // The field ends in 2038. A later time is given as DOS time only.
    if let Ok(seconds) = i32::try_from(entry.modified.unix_timestamp()) {
        extra.put_u16_le(EXTENDED_TIMESTAMP_FIELD);
        extra.put_u16_le(5);
        extra.put_u8(MODIFICATION_TIME_ONLY);
        extra.put_i32_le(seconds);
    }
}

/// Time and date in the form of MS-DOS [4.4.6]: from 1980 to 2107, in steps of two seconds.
fn dos_date_time(at: OffsetDateTime) -> (u16, u16) {
    let at = at.to_offset(UtcOffset::UTC);
    let years = at.year() - 1980;
    if years < 0 {
        return (0, 1 << 5 | 1);
    }
    if years > 127 {
        return (23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31);
    }
    let time =
        u16::from(at.hour()) << 11 | u16::from(at.minute()) << 5 | u16::from(at.second() / 2);
    let date = (years as u16) << 9 | u16::from(u8::from(at.month())) << 5 | u16::from(at.day());
    (time, date)
}

fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(IN_ZIP64)
}
