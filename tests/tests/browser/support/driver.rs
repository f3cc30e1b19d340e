//! A chromedriver of a test's own, which ends with the test.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use reqwest::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// How long chromedriver may take to close its browsers.
const TO_CLOSE: Duration = Duration::from_secs(10);
/// How often it is started until it has a port. It takes one that is free of IPv6 and wants the same of IPv4, where the servers
/// of other tests may have it; then it ends.
const STARTS: usize = 10;

/// A running chromedriver. Dropped, it closes its browsers and ends, also where a test has failed.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) port: u16,
    process: Child,
    /// Without a reader it could not go on writing.
    _output: BufReader<ChildStdout>,
}

/// A command of chromedriver's own.
#[derive(Debug)]
pub(crate) struct Own {
    /// The end of its path.
    pub(crate) path: &'static str,
    pub(crate) body: Value,
}

impl Driver {
    pub(crate) fn start(mut program: Command) -> Self {
        let program = program.arg("--port=0").stdout(Stdio::piped());
        let program = program.stderr(Stdio::null());
        let mut said = String::new();
        for _ in 0..STARTS {
            let mut process = program.spawn().unwrap();
            let mut output = BufReader::new(process.stdout.take().unwrap());
            if let Some(port) = port(&mut output, &mut said) {
                return Self {
                    port,
                    process,
                    _output: output,
                };
            }
            process.wait().unwrap();
        }
        panic!("chromedriver has not said its port: {said}");
    }

    /// Has it close its browsers, which would outlive it otherwise.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(TO_CLOSE))?;
        stream
            .write_all(b"GET /shutdown HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(|_| ())
    }
}

/// The port that it says it has; `None` if it ends without one.
fn port(output: &mut impl BufRead, said: &mut String) -> Option<u16> {
    for line in output.lines() {
        let line = line.unwrap();
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return Some(port.trim_end_matches('.').parse().unwrap());
        }
        *said += &line;
        said.push('\n');
    }
    None
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already; what is left is killed.
        let _ = self.shut_down();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Own {
    /// A command of the protocol of Chrome's developer tools.
    pub(crate) fn devtools(command: &str, parameters: &Value) -> Self {
        Self {
            path: "goog/cdp/execute",
            body: json!({ "cmd": command, "params": parameters }),
        }
    }

    /// What a log has since it was asked for last.
    pub(crate) fn log(kind: &str) -> Self {
        Self {
            path: "se/log",
            body: json!({ "type": kind }),
        }
    }
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
