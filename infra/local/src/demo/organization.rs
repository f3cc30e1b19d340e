//! The made-up organization: its products, their analyses, and what those found. Rules of the repository `larkmoor` are
//! its own; the others are named as SonarQube names them.

use findings::Severity::{Blocker, High as Critical, Low as Minor, Medium as Major};
use findings::{Probability, Review};

use super::product::{Analysis, Dismissed, Hotspot, Product, Weakness};
use crate::sonarqube::Status;

/// A product's weaknesses are listed the worst first. One date is in the style of SonarQube's web API, the others in
/// that of .NET.
#[rustfmt::skip] // A table: a row of three lines is read faster than one of nine.
pub(super) static PRODUCTS: &[Product] = &[
    Product { key: "payment-gateway", name: "Payment gateway",
        analyses: &[
            Analysis { version: "1.0", date: "2025-06-11T14:22:07.1830275+00:00",
                standards: &["cwe-top-25-2024"], ..ANALYSIS },
            Analysis { version: "2.0.0-rc.1", date: "2025-10-02T06:41:30.7719004+00:00",
                standards: &["cwe-top-25-2024"], quality_gate: Some("ERROR"), branch: Some("release/2.0"),
                revision: Some("7c1e0b9d52f84a36b0d7e5f1a94c3826de07b15f"), ..ANALYSIS },
            Analysis { version: "2.0.0", date: "2025-12-17T09:05:48.5946432+00:00",
                standards: &["cwe-top-25-2024", "owasp-top-10-2021", "cwe-top-25-2025"], quality_gate: Some("OK"),
                branch: Some("main"), revision: Some("e2a94f6081c7d35b9f20a8b6c41d7e93055fa6d8"),
                build: Some("1287"), task: Some("AZsr7Qe2dVb1kXo9TnPw") },
        ],
        weaknesses: &[
            Weakness { severity: Blocker, categories: &["CWE-89", "A03:2021"], open: &[3, 0, 0],
                rule: "javasecurity:S3649", location: "ledger/src/main/java/example/ledger/StatementQuery.java:118",
                message: "The account number of the request becomes part of the SQL text. Bind it as a parameter." },
            Weakness { severity: Blocker, categories: &["CWE-798", "A07:2021"], open: &[2, 0, 0],
                rule: "java:S6437", location: "acquirer/src/main/java/example/acquirer/AcquirerClient.java:41",
                message: "The acquirer's password stands in the source. \
                    Read it from the secret store, and replace it." },
            Weakness { severity: Critical, categories: &["CWE-862", "A01:2021"], open: &[4, 2, 0],
                rule: "larkmoor:endpoint-without-role",
                location: "api/src/main/java/example/api/RefundController.java:73",
                message: "Any signed-in user reaches this refund endpoint. Ask for the role that may refund." },
            Weakness { severity: Critical, categories: &["A07:2021"], open: &[1, 1, 0],
                rule: "java:S4830", location: "acquirer/src/main/java/example/acquirer/TestTrustManager.java:22",
                message: "Every server certificate is accepted here. Let the platform verify it." },
            Weakness { severity: Major, categories: &["CWE-918", "A10:2021"], open: &[5, 3, 0],
                rule: "javasecurity:S5144", location: "notify/src/main/java/example/notify/CallbackSender.java:64",
                message: "The merchant chooses the address that this request goes to. Allow public hosts only." },
            Weakness { severity: Minor, categories: &["CWE-200", "A01:2021"], open: &[6, 4, 2],
                rule: "larkmoor:error-names-host", location: "api/src/main/java/example/api/ErrorMapper.java:35",
                message: "The error page names the internal host. Log it, and show the request's id instead." },
            Weakness { severity: Minor, categories: &["A09:2021"], open: &[8, 5, 3],
                rule: "javasecurity:S5145", location: "api/src/main/java/example/api/AuditFilter.java:57",
                message: "A header is logged as it came, so a line break in it forges a log line. Encode it first." },
        ],
        hotspots: &[
            Hotspot { probability: Probability::High, review: Review::ToReview, categories: &["CWE-352", "A01:2021"],
                rule: "java:S4502", location: "api/src/main/java/example/api/WebSecurity.java:29",
                message: "Make sure that switching off the protection against CSRF is safe here.", comment: None },
            Hotspot { probability: Probability::Low, review: Review::Safe, categories: &["CWE-400", "A05:2021"],
                rule: "java:S5693", location: "api/src/main/java/example/api/StatementUpload.java:48",
                message: "Make sure that this limit of 8 MB for an upload is safe here.",
                comment: Some("The gateway in front of it stops at 1 MB.") },
        ],
        dismissed: &[
            Dismissed { rule: "javasecurity:S5144", status: Status::Accepted,
                location: "notify/src/test/java/example/notify/Echo.java:17",
                comment: "A tool of the tests; it is not a part of the product." },
        ],
        is_mqr: false },
    Product { key: "customer-portal", name: "Customer portal",
        analyses: &[
            Analysis { version: "v1.4.2", date: "2025-08-20T16:58:12.0047561+00:00",
                standards: &["owasp-top-10-2021"], branch: Some("main"), ..ANALYSIS },
            Analysis { version: "2025.11", date: "2025-11-03T08:15:00+0000",
                standards: &["owasp-top-10-2021"], quality_gate: Some("OK"), branch: Some("main"),
                revision: Some("31d8f7ac06be4925a1f3c07d92e86b5540acd91e"), build: Some("2025.11.3-1"),
                ..ANALYSIS },
        ],
        weaknesses: &[
            Weakness { severity: Blocker, categories: &["CWE-79", "A03:2021"], open: &[6, 0],
                rule: "tssecurity:S5131", location: "src/profile/greeting.ts:19",
                message: "The display name is put between <b> and </b> as it was typed. Let the template escape it." },
            Weakness { severity: Critical, categories: &["A07:2021"], open: &[2, 0],
                rule: "typescript:S5876", location: "src/session/sign-in.ts:88",
                message: "The session keeps its id when the user signs in. Start a new session." },
            Weakness { severity: Major, categories: &["CWE-434", "A04:2021"], open: &[3, 1],
                rule: "larkmoor:upload-without-type", location: "src/documents/upload.ts:132",
                message: "Any kind of file is taken as a document. Accept the types that the viewer can show." },
            Weakness { severity: Major, categories: &["CWE-352", "A01:2021"], open: &[5, 2],
                rule: "larkmoor:form-without-token", location: "src/address/change.ts:47",
                message: "This form changes data without a CSRF token. Send one with it, and check it." },
            Weakness { severity: Major, categories: &["A01:2021"], open: &[4, 2],
                rule: "tssecurity:S5146", location: "src/session/return-to.ts:12",
                message: "The parameter \"next\" redirects to any site. Allow paths of the portal only." },
            Weakness { severity: Minor, categories: &["A09:2021"], open: &[9, 4],
                rule: "tssecurity:S5145", location: "src/search/log.ts:30",
                message: "The search text is logged with its line breaks. Encode it first." },
        ],
        hotspots: &[
            Hotspot { probability: Probability::Medium, review: Review::Acknowledged, categories: &["CWE-330", "A02:2021"],
                rule: "typescript:S2245", location: "src/session/state.ts:9",
                message: "Make sure that this pseudorandom number generator is safe here.",
                comment: Some("To be replaced together with the old sign-in.") },
            Hotspot { probability: Probability::Low, review: Review::Fixed, categories: &["A05:2021"],
                rule: "typescript:S5122", location: "src/server/cors.ts:14",
                message: "Make sure that this policy of other origins is safe here.", comment: None },
        ],
        dismissed: &[
            Dismissed { rule: "tssecurity:S5145", status: Status::FalsePositive, location: "src/search/log.ts:88",
                comment: "The text is a number by then." },
        ],
        is_mqr: true },
    Product { key: "warehouse", name: "Склад",
        analyses: &[
            Analysis { version: "1.2.3.4", date: "2025-09-15T11:30:59.9000000+00:00",
                standards: &["cwe-top-25-2024"], quality_gate: Some("ERROR"), task: Some("AZlT0mBf5uYc3RzGh8Jd"),
                ..ANALYSIS },
            Analysis { version: "1.3.0", date: "2025-12-01T07:03:21.4408816+00:00",
                standards: &["cwe-top-25-2024"], quality_gate: Some("OK"), branch: Some("main"),
                build: Some("412"), ..ANALYSIS },
        ],
        weaknesses: &[
            Weakness { severity: Critical, categories: &["CWE-119"], open: &[2, 0],
                rule: "cpp:S5782", location: "scanner/src/frame.cpp:204",
                message: "The copy is longer than the buffer when a label is longer than 64 bytes. Check its length." },
            Weakness { severity: Major, categories: &["CWE-22"], open: &[4, 0],
                rule: "pythonsecurity:S2083", location: "stock/exports/download.py:51",
                message: "A file name with \"..\" leaves the export folder. \
                    Resolve it, and compare it with the folder." },
            Weakness { severity: Major, categories: &["CWE-190"], open: &[3, 0],
                rule: "larkmoor:size-overflow", location: "scanner/src/pallet.cpp:77",
                message: "Rows times columns does not fit into 16 bits for large pallets. Multiply in 32 bits." },
            Weakness { severity: Minor, categories: &["CWE-400"], open: &[7, 0],
                rule: "larkmoor:page-without-limit", location: "stock/api/items.py:29",
                message: "The caller may ask for all items in one page. Set an upper limit." },
        ],
        hotspots: &[],
        dismissed: &[],
        is_mqr: false },
];

/// What an analysis is where nothing else is said.
const ANALYSIS: Analysis = Analysis {
    version: "",
    date: "",
    standards: &[],
    quality_gate: None,
    branch: None,
    revision: None,
    build: None,
    task: None,
};
