//! The binary of the function, as a process against a Runtime API.

use tests::lambda::{Function, assert_same_answer, event};
use tests::samples::{files, metadata};
use tests::system::{System, organization};

#[tokio::test]
async fn a_request_of_api_gateway_is_answered_like_plain_http() {
    let system = System::start().await;
    let org = organization().to_string();
    for version in ["1.0", "1.0-rc.1", "2.0"] {
        let mut metadata = metadata(version);
        metadata["projectName"] = "Склад".into();
        system
            .publish(org.parse().unwrap(), &metadata, &files("a"))
            .await;
    }
    let mut function = Function::start(
        env!("CARGO_BIN_EXE_list-reports"),
        &system.stack.environment(),
    )
    .await;
    let path = "/security/report/list";
    for (query, status) in [
        (
            vec![("org", org.as_str()), ("minver", "0"), ("limit", "2")],
            200,
        ),
        (vec![("org", &org), ("version", "1.0+a")], 200),
        (vec![("org", &org), ("minver", "3")], 204),
        (vec![("org", &org), ("minver", "1.x")], 400),
        (vec![("org", &org), ("org", &org), ("minver", "1")], 400),
        (vec![("org", &org), ("Минвер", "é&=+%")], 400),
        (vec![], 400),
    ] {
        let reply = function
            .invoke(event("GET", path, &query, &[], None))
            .await
            .into_reply();
        assert_eq!(reply.status.as_u16(), status, "{query:?}");
        assert_same_answer(
            &reply,
            &system.send(system.request("GET", path).query(&query)).await,
        );
    }

    let preflight = function
        .invoke(event("OPTIONS", path, &[], &[], None))
        .await
        .into_reply();
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert_same_answer(
        &preflight,
        &system.send(system.request("OPTIONS", path)).await,
    );
}
