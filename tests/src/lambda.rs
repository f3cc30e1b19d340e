//! The Lambda Runtime API, as far as a function needs it, and functions that run against it as processes.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::log;
use crate::metrics::{Figures, figures};
use crate::system::Reply;

/// A function that runs as a process, and the Runtime API that it asks for events.
#[derive(Debug)]
pub struct Function {
    events: mpsc::Sender<Value>,
    answers: mpsc::Receiver<Answer>,
    asks: mpsc::UnboundedReceiver<Instant>,
    /// The process; it is killed when this is dropped.
    pub process: Child,
    /// What the process has printed, when it has ended.
    printed: JoinHandle<Vec<String>>,
    _tasks: JoinSet<()>,
}

/// What a function posted as its response.
#[derive(Debug)]
pub struct Answer {
    /// Empty or `application/json` when it is buffered, and the type of streamed HTTP responses otherwise.
    content_type: String,
    /// So much as came.
    body: Bytes,
    /// Whether the body was ended as HTTP wants it.
    pub is_complete: bool,
}

impl Function {
    /// Starts the function's binary in this environment.
    pub async fn start(binary: impl AsRef<Path>, environment: &[(&'static str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, next_event) = mpsc::channel(1);
        let (answer, answers) = mpsc::channel(1);
        let (ask, asks) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            listener,
            std::sync::Arc::new(Mutex::new(next_event)),
            answer,
            ask,
        ));
        let mut process = Command::new(binary.as_ref())
            .env_clear()
            .envs(
                environment
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            )
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            // As template.yaml sets it.
            .env("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let printed = tokio::spawn(async move {
            let mut printed = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                log::read(&line);
                printed.push(line);
            }
            printed
        });
        Self {
            events,
            answers,
            asks,
            process,
            printed,
            _tasks: tasks,
        }
    }

    /// Waits until the function asks for an event, as it does after its start and after each answer; when that was.
    pub async fn asked(&mut self) -> Instant {
        self.asks.recv().await.unwrap()
    }

    /// Invokes the function, and waits for the end of its answer.
    pub async fn invoke(&mut self, event: Value) -> Answer {
        self.events.send(event).await.unwrap();
        self.answers.recv().await.unwrap()
    }

    /// Ends the process, and gives the figures of each record that it has printed for CloudWatch. Whatever a function prints
    /// is JSON, line by line, since that is the format of its log.
    pub async fn recorded(mut self) -> Vec<Figures> {
        self.process.kill().await.unwrap();
        let printed = self.printed.await.unwrap();
        let is_record = |line: &&String| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            line.get("_aws").is_some()
        };
        let records = printed.iter().filter(is_record);
        records.map(|line| figures(line)).collect()
    }
}

impl Answer {
    /// The answer to an event that is no HTTP request.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The HTTP response that API Gateway makes of the answer.
    pub fn into_reply(self) -> Reply {
        match self.content_type.as_str() {
            "application/vnd.awslambda.http-integration-response" => self.streamed(),
            "application/json" | "" => self.buffered(),
            other => panic!("unexpected type of a response: {other}"),
        }
    }

    /// Status and headers as JSON, eight zero bytes, the body.
    fn streamed(self) -> Reply {
        let end = self
            .body
            .windows(8)
            .position(|window| window == [0; 8])
            .unwrap();
        let prelude: Value = serde_json::from_slice(&self.body[..end]).unwrap();
        let single = prelude["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        Reply {
            status: status(&prelude),
            headers: headers(single),
            body: self.body.slice(end + 8..),
        }
    }

    fn buffered(self) -> Reply {
        let json: Value = serde_json::from_slice(&self.body).unwrap();
        let body = json["body"].as_str().unwrap_or_default();
        let body = match json["isBase64Encoded"].as_bool() {
            Some(true) => base64::engine::general_purpose::STANDARD
                .decode(body)
                .unwrap(),
            _ => body.as_bytes().to_vec(),
        };
        let multiple = json["multiValueHeaders"].as_object().unwrap().iter();
        let pairs = multiple.flat_map(|(name, values)| {
            values
                .as_array()
                .unwrap()
                .iter()
                .map(move |value| (name.as_str(), value))
        });
        Reply {
            status: status(&json),
            headers: headers(pairs),
            body: body.into(),
        }
    }
}

fn status(json: &Value) -> StatusCode {
    StatusCode::from_u16(u16::try_from(json["statusCode"].as_u64().unwrap()).unwrap()).unwrap()
}

fn headers<'a>(pairs: impl Iterator<Item = (&'a str, &'a Value)>) -> HeaderMap {
    pairs
        .map(|(name, value)| {
            let value = value
                .as_str()
                .unwrap_or_else(|| panic!("header {name} is no text: {value}"));
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

type NextEvent = std::sync::Arc<Mutex<mpsc::Receiver<Value>>>;

async fn serve(
    listener: TcpListener,
    events: NextEvent,
    answers: mpsc::Sender<Answer>,
    asks: mpsc::UnboundedSender<Instant>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (events, answers, asks) = (events.clone(), answers.clone(), asks.clone());
        let service = hyper::service::service_fn(move |request| {
            respond(request, events.clone(), answers.clone(), asks.clone())
        });
        connections.spawn(async move {
            // A function that ends breaks its connection.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    events: NextEvent,
    answers: mpsc::Sender<Answer>,
    asks: mpsc::UnboundedSender<Instant>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    if request.uri().path().ends_with("/invocation/next") {
        asks.send(Instant::now())?;
        // When there are no more events the test is over; the function waits, and is killed.
        let Some(event) = events.lock().await.recv().await else {
            return std::future::pending().await;
        };
        return Ok(Response::builder()
            .header(
                "lambda-runtime-aws-request-id",
                "3f1f0b5e-0000-4000-8000-000000000000",
            )
            .header("lambda-runtime-deadline-ms", "9999999999999")
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:000000000000:function:function",
            )
            .body(Full::from(event.to_string()))?);
    }
    let content_type = request
        .headers()
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned());
    let mut incoming = request.into_body();
    let mut body = BytesMut::new();
    let mut is_complete = true;
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(_) => {
                is_complete = false;
                break;
            }
        }
    }
    let answer = Answer {
        content_type: content_type.unwrap_or_default(),
        body: body.freeze(),
        is_complete,
    };
    answers.send(answer).await?;
    Ok(Response::builder()
        .status(StatusCode::ACCEPTED)
        .body(Full::default())?)
}

/// The event that API Gateway's REST API makes of a request.
pub fn event(
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Value {
    let mut event: Value =
        serde_json::from_str(include_str!("../fixtures/apigateway-request.json")).unwrap();
    event["httpMethod"] = method.into();
    event["path"] = path.into();
    event["requestContext"]["httpMethod"] = method.into();
    event["requestContext"]["path"] = format!("/v1{path}").into();
    if !query.is_empty() {
        event["queryStringParameters"] = last_values(query);
        event["multiValueQueryStringParameters"] = all_values(query);
    }
    for (name, value) in headers {
        event["headers"][*name] = (*value).into();
        event["multiValueHeaders"][*name] = vec![*value].into();
    }
    event["body"] = body.into();
    event
}

fn last_values(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect()
}

fn all_values(pairs: &[(&str, &str)]) -> Value {
    let values = |name: &str| {
        pairs
            .iter()
            .filter(|(of, _)| *of == name)
            .map(|(_, value)| *value)
            .collect::<Vec<_>>()
    };
    pairs
        .iter()
        .map(|(name, _)| ((*name).to_owned(), Value::from(values(name))))
        .collect()
}

/// Panics unless two answers are the same but for what differs from request to request.
pub fn assert_same_answer(one: &Reply, other: &Reply) {
    assert_eq!(one.status, other.status);
    let comparable = |reply: &Reply| {
        let mut headers = reply.headers.clone();
        // The server's own.
        headers.remove("date");
        if reply.body.is_empty() {
            // Lambda's runtime adds one where there is nothing to describe.
            headers.remove("content-type");
        }
        if !(one.headers.contains_key("content-length")
            && other.headers.contains_key("content-length"))
        {
            // API Gateway adds it to a buffered response.
            headers.remove("content-length");
        }
        headers
    };
    assert_eq!(comparable(one), comparable(other));
    if one.status.is_client_error() || one.status.is_server_error() {
        let envelope = |reply: &Reply| {
            let mut envelope = reply.json();
            envelope.as_object_mut().unwrap().remove("requestId");
            envelope
        };
        assert_eq!(envelope(one), envelope(other));
        assert_eq!(
            one.json()["requestId"],
            "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "API Gateway's own id"
        );
    } else {
        assert!(one.body == other.body, "bodies differ");
    }
}
