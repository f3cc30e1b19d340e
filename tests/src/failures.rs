//! Calls of AWS that fail where a test says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeDeserializationInterceptorContextRef,
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use local::Clients;

/// Makes the n-th call of an SDK client fail, and, when it is a kill, every later one too.
///
/// Clones, and the clients made of them, count together.
#[derive(Clone, Debug)]
pub struct Failures(Arc<Plan>);

/// Where a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seam {
    /// The call is never sent: the caller sees `SdkError::DispatchFailure`.
    Before,
    /// It took effect and the answer was lost: the caller sees `SdkError::ResponseError`.
    After,
}

#[derive(Debug)]
struct Plan {
    strike: Option<Strike>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct Strike {
    at: usize,
    seam: Seam,
    kill: bool,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<String>,
    has_struck: bool,
}

impl Failures {
    /// Every call passes, and is counted.
    pub fn none() -> Self {
        Self::new(None)
    }

    /// The `n`-th call fails, where 1 is the first.
    ///
    /// After a kill no call is sent any more, and no answer arrives of those that were under way: a process that ended
    /// sees none of them.
    pub fn at(n: usize, seam: Seam, kill: bool) -> Self {
        assert!(n > 0, "calls are counted from 1");
        Self::new(Some(Strike { at: n, seam, kill }))
    }

    fn new(strike: Option<Strike>) -> Self {
        Self(Arc::new(Plan {
            strike,
            state: Mutex::default(),
        }))
    }

    /// The same client with these failures. It does not retry, so a call counts once.
    pub fn dynamodb(&self, base: &aws_sdk_dynamodb::Client) -> aws_sdk_dynamodb::Client {
        let config = base
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .interceptor(self.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// The same client with these failures. It does not retry, so a call counts once.
    pub fn sqs(&self, base: &aws_sdk_sqs::Client) -> aws_sdk_sqs::Client {
        let config = base
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .interceptor(self.clone());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// The configuration of the same client with these failures. It does not retry, so a call counts once.
    pub fn s3(&self, base: &aws_sdk_s3::config::Builder) -> aws_sdk_s3::config::Builder {
        let config = base.clone().retry_config(RetryConfig::disabled());
        config.interceptor(self.clone())
    }

    /// The same clients with these failures of DynamoDB and SQS.
    pub fn clients(&self, base: &Clients) -> Clients {
        Clients {
            dynamodb: self.dynamodb(&base.dynamodb),
            s3: base.s3.clone(),
            sqs: self.sqs(&base.sqs),
        }
    }

    /// How many calls there were so far, those that failed among them.
    pub fn calls(&self) -> usize {
        self.0.state.lock().unwrap().log.len()
    }

    /// Whether a call has failed.
    pub fn has_struck(&self) -> bool {
        self.0.state.lock().unwrap().has_struck
    }

    /// The names of the operations called, such as `PutItem`, in order, those that failed among them.
    pub fn log(&self) -> Vec<String> {
        self.0.state.lock().unwrap().log.clone()
    }
}

/// A call that fails: the n-th, where, and whether the process ends there.
#[derive(Clone, Copy, Debug)]
pub struct Break {
    /// Which, where 1 is the first.
    pub n: usize,
    /// Where.
    pub seam: Seam,
    /// Whether the process ends.
    pub kill: bool,
}

impl Break {
    /// Every way in which these calls, by the names of their operations, can fail that leaves something else behind than another one.
    ///
    /// A read that took effect leaves what one leaves that was never sent. A process that ends before a read leaves what one leaves that ends
    /// before the write that follows, and one that ends after a call, what one leaves that ends before the next.
    pub fn each_of(log: &[String]) -> Vec<Self> {
        let is_read = |name: &String| {
            name.starts_with("Get") || name.starts_with("BatchGet") || name == "Query"
        };
        let mut breaks = Vec::new();
        for (n, name) in (1..).zip(log) {
            let at = |seam, kill| Self { n, seam, kill };
            breaks.push(at(Seam::Before, false));
            if !is_read(name) {
                breaks.extend([at(Seam::After, false), at(Seam::Before, true)]);
            }
        }
        breaks
    }
}

/// A process whose calls fail as a test says, and the one that is there after it was killed.
#[derive(Debug)]
pub struct Process<P> {
    first: P,
    second: P,
    failures: Failures,
    is_mortal: bool,
    is_killed: bool,
}

impl<P> Process<P> {
    /// One that works with what `make` makes of failures.
    pub fn new(broken: Option<Break>, make: impl Fn(&Failures) -> P) -> Self {
        let failures = match broken {
            None => Failures::none(),
            Some(Break { n, seam, kill }) => Failures::at(n, seam, kill),
        };
        Self {
            first: make(&failures),
            second: make(&Failures::none()),
            failures,
            is_mortal: broken.is_some_and(|it| it.kill),
            is_killed: false,
        }
    }

    /// What the process that runs now works with.
    pub fn now(&self) -> &P {
        match self.is_killed {
            true => &self.second,
            false => &self.first,
        }
    }

    /// What the one works with whose calls do not fail.
    pub fn second(&self) -> &P {
        &self.second
    }

    /// Ends the process if it was to be killed by now. Gives whether it was: then nobody has heard what it said just now.
    pub fn note_kill(&mut self) -> bool {
        let is_new = !self.is_killed && self.is_mortal && self.failures.has_struck();
        self.is_killed |= is_new;
        is_new
    }

    /// Ends the process, whatever has happened.
    pub fn restart(&mut self) {
        self.is_killed = true;
    }

    /// The names of the operations that were called until the restart, in order.
    pub fn calls(&self) -> Vec<String> {
        self.failures.log()
    }
}

/// The same client, which loses the answer to the first call of an operation: it took effect, and the SDK, to which it looks
/// like a fault of DynamoDB's, asks once more.
pub fn asking_twice(
    base: &aws_sdk_dynamodb::Client,
    operation: &'static str,
) -> aws_sdk_dynamodb::Client {
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let config = base
        .config()
        .to_builder()
        .retry_config(retries)
        .interceptor(AskTwice {
            operation,
            is_done: AtomicBool::new(false),
        });
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

#[derive(Debug)]
struct AskTwice {
    operation: &'static str,
    is_done: AtomicBool,
}

impl Intercept for AskTwice {
    fn name(&self) -> &'static str {
        "AskTwice"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_meant = cfg.load::<Metadata>().unwrap().name() == self.operation;
        if is_meant && !self.is_done.swap(true, Ordering::Relaxed) {
            *context.response_mut().status_mut() = 500.try_into().unwrap();
        }
        Ok(())
    }
}

/// The same client, whose first call of an operation collides with a transaction, or is one that does: it takes no effect, and DynamoDB says so.
pub fn colliding_once(
    base: &aws_sdk_dynamodb::Client,
    operation: &'static str,
) -> aws_sdk_dynamodb::Client {
    let config = base.config().to_builder().interceptor(Collide {
        operation,
        is_done: AtomicBool::new(false),
    });
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

#[derive(Debug)]
struct Collide {
    operation: &'static str,
    is_done: AtomicBool,
}

/// Marks the one call that collides.
#[derive(Debug)]
struct Collides;

impl Storable for Collides {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Collide {
    fn name(&self) -> &'static str {
        "Collide"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_meant = cfg.load::<Metadata>().unwrap().name() == self.operation;
        if is_meant && !self.is_done.swap(true, Ordering::Relaxed) {
            cfg.interceptor_state().store_put(Collides);
            // What the stand-in does instead changes nothing.
            let headers = context.request_mut().headers_mut();
            headers.insert("x-amz-target", "DynamoDB_20120810.ListTables");
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        const CONFLICT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"injected"}"#;
        const CANCELLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"injected","CancellationReasons":[{"Code":"TransactionConflict"}]}"#;
        if cfg.load::<Collides>().is_some() {
            let said = match self.operation {
                "TransactWriteItems" => CANCELLED,
                _ => CONFLICT,
            };
            let response = context.response_mut();
            *response.status_mut() = 400.try_into().unwrap();
            response.headers_mut().remove("x-amz-crc32");
            *response.body_mut() = SdkBody::from(said);
        }
        Ok(())
    }
}

/// Marks the one call whose answer is to be lost: others may be under way beside it.
#[derive(Debug)]
struct LoseTheAnswer;

impl Storable for LoseTheAnswer {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Failures {
    fn name(&self) -> &'static str {
        "Failures"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = cfg.load::<Metadata>().unwrap().name().to_owned();
        let mut state = self.0.state.lock().unwrap();
        state.log.push(operation);
        let Some(strike) = self.0.strike else {
            return Ok(());
        };
        let is_dead = strike.kill && state.has_struck;
        match strike.seam {
            _ if is_dead => Err("injected: no call is sent after the kill".into()),
            _ if state.log.len() != strike.at => Ok(()),
            Seam::Before => {
                state.has_struck = true;
                Err("injected: the call is not sent".into())
            }
            Seam::After => {
                cfg.interceptor_state().store_put(LoseTheAnswer);
                Ok(())
            }
        }
    }

    fn read_after_transmit(
        &self,
        _: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut state = self.0.state.lock().unwrap();
        if cfg.load::<LoseTheAnswer>().is_some() {
            state.has_struck = true;
            return Err("injected: the answer is lost".into());
        }
        if state.has_struck && self.0.strike.is_some_and(|strike| strike.kill) {
            return Err("injected: no answer arrives after the kill".into());
        }
        Ok(())
    }
}
