//! Planned archives, read by others.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek, SeekFrom, Write as _};
use std::path::Path;

use bytes::Bytes;
use domain::report::Method;
use download_files::archive::{Content, Entry, Object, Plan, Segment};
use download_files::names;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;
use tests::samples::stored_report;
use tests::system::organization;
use tests::tools;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use zip::ZipArchive;

const GIB: u64 = 1 << 30;

/// An entry with these bytes, compressed as a publication would.
fn entry(name: &str, file: &[u8], method: Method) -> Entry {
    let content: Bytes = match method {
        Method::Stored => file.to_vec().into(),
        Method::Deflated => {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(file).unwrap();
            encoder.finish().unwrap().into()
        }
    };
    Entry {
        name: name.to_owned(),
        modified: datetime!(2025-12-17 09:05:49 UTC),
        method,
        crc32: crc32fast::hash(file),
        size: file.len() as u64,
        compressed_size: content.len() as u64,
        content: Content::Bytes(content),
    }
}

/// A stored entry of so many zeros. They are in no memory; their CRC is not right, so nobody may read it to its end.
fn sparse_entry(name: &str, size: u64) -> Entry {
    let object = Object {
        key: String::new(),
        version_id: None,
        offset: 0,
    };
    Entry {
        size,
        compressed_size: size,
        content: Content::Object(object),
        ..entry(name, b"", Method::Stored)
    }
}

fn bytes_of(segments: Vec<Segment>) -> Vec<u8> {
    let bytes = segments.into_iter().flat_map(|segment| match segment {
        Segment::Bytes(bytes) => bytes,
        Segment::Object { length, .. } => vec![0; usize::try_from(length).unwrap()].into(),
    });
    bytes.collect()
}

fn whole(plan: &Plan) -> Vec<u8> {
    bytes_of(plan.slice(0..plan.length()))
}

/// Reads a plan like a file, and makes only the bytes that are asked for.
struct Planned<'a> {
    plan: &'a Plan,
    position: u64,
}

impl Read for Planned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let end = self
            .plan
            .length()
            .min(self.position.saturating_add(buffer.len() as u64));
        let bytes = if self.position < end {
            bytes_of(self.plan.slice(self.position..end))
        } else {
            Vec::new()
        };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Seek for Planned<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::End(offset) => self.plan.length().checked_add_signed(offset).unwrap(),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset).unwrap(),
        };
        Ok(self.position)
    }
}

/// Writes the archive as a sparse file: of the zeros of its objects nothing but holes.
fn write_sparse(plan: &Plan, path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for segment in plan.slice(0..plan.length()) {
        match segment {
            Segment::Bytes(bytes) => file.write_all(&bytes).unwrap(),
            Segment::Object { length, .. } => {
                file.seek(SeekFrom::Current(i64::try_from(length).unwrap()))
                    .unwrap();
            }
        }
    }
}

/// The archive passes Info-ZIP and Python, where they are installed.
fn check_with_others(plan: &Plan, entries: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.zip");
    std::fs::write(&path, whole(plan)).unwrap();
    if let Some(mut unzip) = tools::find("unzip") {
        tools::run(unzip.arg("-tqq").arg(&path));
    }
    if let Some(mut python) = tools::find("python3") {
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); \
                      assert z.testzip() is None; assert len(z.infolist()) == int(sys.argv[2]), z.infolist()";
        tools::run(
            python
                .args(["-c", script])
                .arg(&path)
                .arg(entries.to_string()),
        );
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let name = prop_oneof![
        "[a-z]{1,8}/[a-z .]{1,20}\\.html",
        "[а-яé€]{1,8}\\.pdf",
        "[ -.0-~]{1,300}"
    ];
    let file = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..2000),
        "(report ){0,300}".prop_map(String::into_bytes),
    ];
    let method = prop_oneof![Just(Method::Stored), Just(Method::Deflated)];
    // Before 1980, after 2038, after 2107.
    let modified = (-3_000_000_000_i64..9_000_000_000)
        .prop_map(|seconds| OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds));
    (name, file, method, modified).prop_map(|(name, file, method, modified)| Entry {
        modified,
        ..entry(&name, &file, method)
    })
}

proptest! {
    #[test]
    fn the_zip_crate_reads_what_was_planned(entries in prop::collection::vec(any_entry(), 0..12)) {
        let plan = Plan::new(entries.clone());
        let bytes = whole(&plan);
        prop_assert_eq!(bytes.len() as u64, plan.length());
        let mut archive = ZipArchive::new(Cursor::new(&bytes)).unwrap();
        // The zip crate keeps the last of several entries of one name.
        let is_last = |at: usize| entries[at + 1..].iter().all(|later| later.name != entries[at].name);
        for (_, entry) in entries.iter().enumerate().filter(|(at, _)| is_last(*at)) {
            let mut read = archive.by_name(&entry.name).unwrap();
            prop_assert_eq!(read.size(), entry.size);
            prop_assert_eq!(read.compressed_size(), entry.compressed_size);
            prop_assert_eq!(read.crc32(), entry.crc32);
            prop_assert_eq!(read.unix_mode(), Some(0o100_644));
            let mut file = Vec::new();
            // Checks the CRC too.
            read.read_to_end(&mut file).unwrap();
            prop_assert_eq!(file.len() as u64, entry.size);
        }
    }

    #[test]
    fn any_range_is_the_slice_of_the_whole(
        entries in prop::collection::vec(any_entry(), 0..8),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 20),
    ) {
        let plan = Plan::new(entries);
        let bytes = whole(&plan);
        for (one, other) in cuts {
            let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
            let (from, to) = (one.min(other), one.max(other));
            let segments = plan.slice(from as u64..to as u64);
            // A bucket cannot be asked for nothing.
            prop_assert!(segments.iter().all(|segment| segment.length() > 0));
            prop_assert_eq!(&bytes_of(plan.slice(from as u64..to as u64)), &bytes[from..to]);
        }
    }

    #[test]
    fn the_entity_tag_tells_archives_apart(entries in prop::collection::vec(any_entry(), 1..5), at in any::<prop::sample::Index>()) {
        let plan = Plan::new(entries.clone());
        let same = Plan::new(entries.clone());
        prop_assert_eq!(plan.etag(), same.etag());
        let changes: [fn(&mut Entry); 4] = [
            |entry| entry.name.push('x'),
            |entry| entry.crc32 ^= 1,
            |entry| entry.modified = datetime!(1999-01-01 00:00 UTC),
            |entry| entry.content = Content::Object(Object { key: "k".to_owned(), version_id: None, offset: 0 }),
        ];
        for change in changes {
            let mut changed = entries.clone();
            let at = at.index(changed.len());
            change(&mut changed[at]);
            prop_assert_ne!(Plan::new(changed).etag().to_owned(), plan.etag());
        }
    }
}

#[test]
fn others_read_ascii_and_other_names_and_empty_files() {
    let entries = vec![
        entry("reports.json", b"{}", Method::Stored),
        entry(
            "Test product 1.0/report.html",
            &b"<p>text</p>".repeat(1000),
            Method::Deflated,
        ),
        entry("Test product 1.0/empty.html", b"", Method::Deflated),
        entry("Test product 1.0/empty.pdf", b"", Method::Stored),
        entry("Склад 1.3.0/Отчёт № 5.pdf", b"%PDF", Method::Stored),
        entry("日本語/レポート.html", b"<p>", Method::Deflated),
    ];
    check_with_others(&Plan::new(entries), 6);
}

/// Names as a publisher may declare them, at their worst: long, longer when composed, equal but for what is replaced or
/// for letter case, and what systems keep for themselves.
#[test]
fn others_unpack_every_file_whatever_reports_and_files_are_called() {
    let chars = [
        "x",
        "é",
        "\u{1d160}",
        "\u{fb2c}",
        "\u{3164}",
        "\u{e0041}",
        "语",
        "😀",
        "q\u{301}\u{323}",
    ];
    let mut declared: Vec<String> = chars
        .iter()
        .flat_map(|char| [(char, ".html"), (char, ".PDF")])
        .map(|(char, extension)| char.repeat((200 - extension.len()) / char.len()) + extension)
        .collect();
    declared.extend(
        [
            "CONIN$.html",
            "conout$.pdf",
            "nul.html",
            "com1 .pdf",
            "a.html",
            "A.html",
            "\u{ad}.html",
            "\u{61c}.html",
            "_.html",
            "ß.html",
            "SS.html",
            "-rf.html",
            "..\u{200b}.html",
        ]
        .map(str::to_owned),
    );
    let mut report = stored_report(organization(), 0);
    report.metadata.report_type = "\u{1d160}".repeat(100);
    report.metadata.branch = Some("\u{958}".repeat(255));
    let mut entries = Vec::new();
    let mut folders = names::Taken::default();
    for char in chars.iter().chain(&chars) {
        report.metadata.project_name = char.repeat(500 / char.chars().count());
        let folder = folders.unique(&names::folder(&report), "");
        let mut taken = names::Taken::default();
        for name in &declared {
            let (stem, extension) = names::file(name);
            let name = format!("{folder}/{}", taken.unique(&stem, &extension));
            entries.push(entry(&name, name.as_bytes(), Method::Stored));
        }
    }
    let paths: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(paths.len(), entries.len());
    let longest = paths.iter().map(|path| path.encode_utf16().count()).max();
    assert!(longest < Some(175), "{longest:?}");
    let plan = Plan::new(entries.clone());
    check_with_others(&plan, entries.len());

    let mut archive = ZipArchive::new(Cursor::new(whole(&plan))).unwrap();
    assert_eq!(archive.len(), entries.len());
    let folder = tempfile::tempdir().unwrap();
    archive.extract(folder.path().join("zip")).unwrap();
    let path = folder.path().join("archive.zip");
    std::fs::write(&path, whole(&plan)).unwrap();
    if let Some(mut python) = tools::find("python3") {
        let to = folder.path().join("python");
        tools::run(
            python
                .args(["-X", "utf8", "-m", "zipfile", "-e"])
                .args([&path, &to]),
        );
        assert_eq!(contents(&to), entries.len());
    }
    // Info-ZIP in a locale that has the names, and in one where it writes them as it can.
    for locale in ["C.UTF-8", "C"] {
        if let Some(mut unzip) = tools::find("unzip") {
            let to = folder.path().join(locale);
            tools::run(
                unzip
                    .env("LC_ALL", locale)
                    .args(["-q", "-n"])
                    .arg(&path)
                    .arg("-d")
                    .arg(&to),
            );
            assert_eq!(contents(&to), entries.len(), "{locale}");
        }
    }
    assert_eq!(contents(&folder.path().join("zip")), entries.len());
}

/// How many different files are in the folders of this one. What was written over another file is missing.
fn contents(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let contents: BTreeSet<Vec<u8>> = files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    contents.len()
}

#[test]
fn others_read_two_thousand_entries() {
    let name = |number: usize| format!("Product {} 1.0/file {number}.html", number / 20);
    let entries = (0..2000)
        .map(|number| entry(&name(number), name(number).as_bytes(), Method::Deflated))
        .collect();
    check_with_others(&Plan::new(entries), 2000);
}

#[test]
fn local_headers_tell_everything_and_zip64_stands_only_where_needed() {
    let plain = whole(&Plan::new(vec![
        entry("a.pdf", b"four", Method::Stored),
        entry("é", b"x", Method::Stored),
    ]));
    let field = |at: usize| u16::from_le_bytes([plain[at], plain[at + 1]]);
    assert_eq!(
        (field(4), field(6)),
        (10, 0),
        "version 1.0 is enough, and no flag is set"
    );
    assert_eq!(plain[14..18], crc32fast::hash(b"four").to_le_bytes());
    assert_eq!(
        (plain[18..22].to_vec(), plain[22..26].to_vec()),
        (vec![4, 0, 0, 0], vec![4, 0, 0, 0])
    );
    assert_eq!(
        field(28),
        9,
        "the extended timestamp is the only extra field"
    );
    assert_eq!(
        field(30 + 5 + 9 + 4 + 6),
        1 << 11,
        "the second name is UTF-8"
    );

    let ends_like_zip64 = |plan: &Plan| {
        bytes_of(plan.slice(plan.length() - 42..plan.length())).starts_with(b"PK\x06\x07")
    };
    let largest = u64::from(u32::MAX) - 1;
    assert!(!ends_like_zip64(&Plan::new(vec![entry(
        "a",
        b"",
        Method::Stored
    )])));
    assert!(
        ends_like_zip64(&Plan::new(vec![sparse_entry("a", largest)])),
        "the directory lies behind 4 GiB"
    );
    let version = |size| bytes_of(Plan::new(vec![sparse_entry("a", size)]).slice(4..6));
    assert_eq!(
        (version(largest), version(largest + 1)),
        (vec![10, 0], vec![45, 0]),
        "the sizes need it one byte later"
    );
}

/// The sizes of an entry need zip64 each for itself, and so does the number of entries.
#[test]
fn each_value_needs_zip64_by_itself() {
    let version = |entry: Entry| bytes_of(Plan::new(vec![entry]).slice(4..6));
    let large = u64::from(u32::MAX);
    let deflated = |size, compressed_size| Entry {
        size,
        method: Method::Deflated,
        ..sparse_entry("a", compressed_size)
    };
    assert_eq!(version(deflated(large, 5)), [45, 0]);
    assert_eq!(version(deflated(5, large)), [45, 0]);
    assert_eq!(version(deflated(large - 1, large - 1)), [20, 0]);

    for count in [65_534, 65_535, 65_536] {
        let plan = Plan::new(
            (0..count)
                .map(|number| entry(&number.to_string(), b"", Method::Stored))
                .collect(),
        );
        let bytes = whole(&plan);
        let has_zip64 = bytes[bytes.len() - 42..].starts_with(b"PK\x06\x07");
        assert_eq!(has_zip64, count >= 65_535, "{count} entries");
        assert_eq!(ZipArchive::new(Cursor::new(&bytes)).unwrap().len(), count);
        if count == 65_536 {
            check_with_others(&plan, count);
        }
    }
}

#[test]
fn times_stand_exactly_and_as_dos_time() {
    let modified = |at: OffsetDateTime| {
        whole(&Plan::new(vec![Entry {
            modified: at,
            ..entry("a", b"", Method::Stored)
        }]))
    };
    let dos = |at| {
        let mut archive = ZipArchive::new(Cursor::new(modified(at))).unwrap();
        archive
            .by_index(0)
            .unwrap()
            .last_modified()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        dos(datetime!(2025-12-17 11:05:49 +2)),
        "2025-12-17 09:05:48"
    );
    assert_eq!(dos(datetime!(1970-01-01 0:00 UTC)), "1980-01-01 00:00:00");
    assert_eq!(dos(datetime!(2200-01-01 0:00 UTC)), "2107-12-31 23:59:58");
    let bytes = modified(datetime!(2025-12-17 09:05:49 UTC));
    assert_eq!(
        bytes[31..40],
        [0x55, 0x54, 5, 0, 1, 0x6d, 0x72, 0x42, 0x69],
        "seconds since 1970"
    );
    let late = modified(datetime!(2040-01-01 0:00 UTC));
    assert_eq!(
        late[28..30],
        [0, 0],
        "after 2038 there is no extended timestamp"
    );
}

#[test]
fn an_archive_may_cross_the_borders_of_zip64() {
    let mut entries = vec![sparse_entry("large.pdf", 5 * GIB)];
    entries.extend((0..70_000).map(|number| {
        entry(
            &format!("{number}.html"),
            number.to_string().as_bytes(),
            Method::Deflated,
        )
    }));
    // At the end: after an entry of exactly this size, Info-ZIP 6.0 takes the sizes of the next one for zip64, too.
    entries.push(sparse_entry("4 GiB less one byte.pdf", 4 * GIB - 1));
    let plan = Plan::new(entries);
    assert!(plan.length() > 9 * GIB);

    let mut archive = ZipArchive::new(Planned {
        plan: &plan,
        position: 0,
    })
    .unwrap();
    assert_eq!(archive.len(), 70_002);
    assert_eq!(archive.by_name("large.pdf").unwrap().size(), 5 * GIB);
    assert_eq!(
        archive.by_name("4 GiB less one byte.pdf").unwrap().size(),
        4 * GIB - 1
    );
    for number in [0, 65_533, 65_534, 69_999] {
        let mut text = String::new();
        archive
            .by_name(&format!("{number}.html"))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, number.to_string());
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.zip");
    write_sparse(&plan, &path);
    if let Some(mut unzip) = tools::find("unzip") {
        let output = tools::run(unzip.arg("-p").arg(&path).args(["0.html", "69999.html"]));
        assert_eq!(output.stdout, b"069999");
    }
    if let Some(mut python) = tools::find("python3") {
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); \
                      assert len(z.infolist()) == 70002; \
                      assert [z.infolist()[i].file_size for i in (0, -1)] == [5 << 30, (4 << 30) - 1]; \
                      assert z.read('69999.html') == b'69999'; assert z.read('65535.html') == b'65535'";
        tools::run(python.args(["-c", script]).arg(&path));
    }
}
