//! The standards that the reports are about: the categories' public ids and names.

/// A standard in one of its editions.
pub(super) struct Standard {
    pub(super) name: &'static str,
    pub(super) edition: u32,
    /// Id and name, in the standard's own order.
    pub(super) categories: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip] // One line per category.
pub(super) static CWE_TOP_25: Standard = Standard {
    name: "CWE Top 25",
    edition: 2024,
    categories: &[
        ("CWE-79", "Improper Neutralization of Input During Web Page Generation ('Cross-site Scripting')"),
        ("CWE-787", "Out-of-bounds Write"),
        ("CWE-89", "Improper Neutralization of Special Elements used in an SQL Command ('SQL Injection')"),
        ("CWE-352", "Cross-Site Request Forgery (CSRF)"),
        ("CWE-22", "Improper Limitation of a Pathname to a Restricted Directory ('Path Traversal')"),
        ("CWE-125", "Out-of-bounds Read"),
        ("CWE-78", "Improper Neutralization of Special Elements used in an OS Command ('OS Command Injection')"),
        ("CWE-416", "Use After Free"),
        ("CWE-862", "Missing Authorization"),
        ("CWE-434", "Unrestricted Upload of File with Dangerous Type"),
        ("CWE-94", "Improper Control of Generation of Code ('Code Injection')"),
        ("CWE-20", "Improper Input Validation"),
        ("CWE-77", "Improper Neutralization of Special Elements used in a Command ('Command Injection')"),
        ("CWE-287", "Improper Authentication"),
        ("CWE-269", "Improper Privilege Management"),
        ("CWE-502", "Deserialization of Untrusted Data"),
        ("CWE-200", "Exposure of Sensitive Information to an Unauthorized Actor"),
        ("CWE-863", "Incorrect Authorization"),
        ("CWE-918", "Server-Side Request Forgery (SSRF)"),
        ("CWE-119", "Improper Restriction of Operations within the Bounds of a Memory Buffer"),
        ("CWE-476", "NULL Pointer Dereference"),
        ("CWE-798", "Use of Hard-coded Credentials"),
        ("CWE-190", "Integer Overflow or Wraparound"),
        ("CWE-400", "Uncontrolled Resource Consumption"),
        ("CWE-306", "Missing Authentication for Critical Function"),
    ],
};

pub(super) static OWASP_TOP_10: Standard = Standard {
    name: "OWASP Top 10",
    edition: 2021,
    categories: &[
        ("A01:2021", "Broken Access Control"),
        ("A02:2021", "Cryptographic Failures"),
        ("A03:2021", "Injection"),
        ("A04:2021", "Insecure Design"),
        ("A05:2021", "Security Misconfiguration"),
        ("A06:2021", "Vulnerable and Outdated Components"),
        ("A07:2021", "Identification and Authentication Failures"),
        ("A08:2021", "Software and Data Integrity Failures"),
        ("A09:2021", "Security Logging and Monitoring Failures"),
        ("A10:2021", "Server-Side Request Forgery (SSRF)"),
    ],
};

/// The requirements' subjects in our own words; the standard's text is not free.
pub(super) static PCI_DSS: Standard = Standard {
    name: "PCI DSS",
    edition: 4,
    categories: &[
        ("Req. 1", "Network protection"),
        ("Req. 2", "Hardened configuration"),
        ("Req. 3", "Stored account data"),
        ("Req. 4", "Cardholder data in transit"),
        ("Req. 5", "Malware defence"),
        ("Req. 6", "Secure development"),
        ("Req. 7", "Access by need"),
        ("Req. 8", "Identities and authentication"),
        ("Req. 9", "Physical access"),
        ("Req. 10", "Logs and monitoring"),
        ("Req. 11", "Security tests"),
        ("Req. 12", "Policies and people"),
    ],
};
