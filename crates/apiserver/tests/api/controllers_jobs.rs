//! Owns the controllers of Job and CronJob. What statuses and events say is what a real controller
//! manager of 1.34 says at the same steps.

use serde_json::{Value, json};

use crate::stage::Stage;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const CRONS: &str = "/apis/batch/v1/namespaces/default/cronjobs";

fn template() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "c:1"}]}})
}

fn job(spec: &Value) -> Value {
    let mut body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "spec": {"backoffLimit": 6, "completions": 1, "parallelism": 1, "template": template()}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    body
}

fn path() -> String {
    format!("{JOBS}/j")
}

/// The pods that have not ended.
fn live(stage: &Stage) -> Vec<String> {
    let mut all = stage.pods();
    all.retain(|p| {
        let phase = stage.pod(p)["status"]["phase"].clone();
        phase != "Succeeded" && phase != "Failed"
    });
    all
}

#[tokio::test(start_paused = true)]
async fn a_job_counts_each_pod_once_and_completes() {
    let mut stage = Stage::new();
    stage
        .post(JOBS, &job(&json!({"completions": 2, "parallelism": 1})))
        .await;
    assert_eq!(
        stage.status(&path()).await,
        json!({"active": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}})
    );
    let first = live(&stage);
    assert_eq!(
        stage.pod(&first[0])["metadata"]["finalizers"],
        json!(["batch.kubernetes.io/job-tracking"])
    );
    stage.ready(&first[0]).await;
    assert_eq!(stage.status(&path()).await["ready"], json!(1));
    stage.end(&first[0], "Succeeded", 0).await;
    assert_eq!(
        stage.status(&path()).await,
        json!({"active": 1, "ready": 0, "succeeded": 1, "terminating": 0,
            "uncountedTerminatedPods": {}})
    );
    assert_eq!(stage.pod(&first[0])["metadata"].get("finalizers"), None);
    // An end of the controllers changes no count.
    stage.restart();
    stage.end(&live(&stage)[0], "Succeeded", 0).await;
    let status = stage.get(&path()).await["status"].clone();
    assert_eq!(
        status["completionTime"],
        status["conditions"][1]["lastTransitionTime"]
    );
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "CompletionsReached",
            "message": "Reached expected number of succeeded pods"})
    };
    assert_eq!(
        stage.status(&path()).await,
        json!({"conditions": [condition("SuccessCriteriaMet"), condition("Complete")], "ready": 0,
            "succeeded": 2, "terminating": 0, "uncountedTerminatedPods": {}})
    );
    assert_eq!(
        stage.events("Job"),
        [
            "Normal SuccessfulCreate Created pod: j-*",
            "Normal SuccessfulCreate Created pod: j-*",
            "Normal Completed Job completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_later_and_later_until_the_limit() {
    let stage = Stage::new();
    stage.post(JOBS, &job(&json!({"backoffLimit": 1}))).await;
    stage.end(&live(&stage)[0], "Failed", 1).await;
    assert_eq!(stage.status(&path()).await["failed"], json!(1));
    assert_eq!(live(&stage), Vec::<String>::new());
    stage.pass(9).await;
    assert_eq!(live(&stage), Vec::<String>::new());
    stage.pass(2).await;
    assert_eq!(live(&stage).len(), 1);
    stage.end(&live(&stage)[0], "Failed", 1).await;
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "BackoffLimitExceeded",
            "message": "Job has reached the specified backoff limit"})
    };
    assert_eq!(
        stage.status(&path()).await,
        json!({"conditions": [condition("FailureTarget"), condition("Failed")], "failed": 2,
            "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}})
    );
    assert_eq!(
        stage.events("Job").last().map(String::as_str),
        Some("Warning BackoffLimitExceeded Job has reached the specified backoff limit")
    );
}

#[tokio::test(start_paused = true)]
async fn an_indexed_job_gives_each_pod_its_number() {
    let stage = Stage::new();
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    stage.post(JOBS, &job(&spec)).await;
    let all = live(&stage);
    let pod = stage.pod(&all[1]);
    assert!(all[1].starts_with("j-1-"), "{all:?}");
    let index = "batch.kubernetes.io/job-completion-index";
    assert_eq!(pod["metadata"]["annotations"][index], json!("1"));
    assert_eq!(pod["metadata"]["labels"][index], json!("1"));
    assert_eq!(pod["spec"]["hostname"], json!("j-1"));
    assert_eq!(
        pod["spec"]["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["fieldPath"],
        json!("metadata.labels['batch.kubernetes.io/job-completion-index']")
    );
    stage.end(&all[0], "Succeeded", 0).await;
    stage.end(&all[2], "Succeeded", 0).await;
    assert_eq!(
        stage.status(&path()).await["completedIndexes"],
        json!("0,2")
    );
    stage.end(&all[1], "Failed", 1).await;
    stage.pass(11).await;
    let again = live(&stage);
    assert!(
        again.len() == 1 && again[0].starts_with("j-1-"),
        "{again:?}"
    );
    stage.end(&again[0], "Succeeded", 0).await;
    let status = stage.status(&path()).await;
    assert_eq!(
        (
            &status["completedIndexes"],
            &status["succeeded"],
            &status["failed"]
        ),
        (&json!("0-2"), &json!(3), &json!(1))
    );
    assert_eq!(status["conditions"][1]["type"], json!("Complete"));
}

#[tokio::test(start_paused = true)]
async fn an_index_may_fail_for_itself() {
    let stage = Stage::new();
    let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "backoffLimit": 2_147_483_647_i64, "backoffLimitPerIndex": 1});
    stage.post(JOBS, &job(&spec)).await;
    for _ in 0..2 {
        let all = live(&stage);
        let first = all.iter().find(|p| p.starts_with("j-0-")).expect("its pod");
        stage.end(first, "Failed", 1).await;
        stage.pass(30).await;
    }
    assert_eq!(stage.status(&path()).await["failedIndexes"], json!("0"));
    let rest = live(&stage);
    assert_eq!(rest.len(), 1);
    stage.end(&rest[0], "Succeeded", 0).await;
    let status = stage.status(&path()).await;
    assert_eq!(
        status["conditions"][1],
        json!({"type": "Failed", "status": "True", "reason": "FailedIndexes",
            "message": "Job has failed indexes"})
    );
    assert_eq!(
        (&status["succeeded"], &status["failed"]),
        (&json!(1), &json!(2))
    );
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_has_no_pods_and_no_deadline() {
    let stage = Stage::new();
    stage
        .post(
            JOBS,
            &job(&json!({"suspend": true, "activeDeadlineSeconds": 5})),
        )
        .await;
    let suspended = json!([{"type": "Suspended", "status": "True", "reason": "JobSuspended",
        "message": "Job suspended"}]);
    assert_eq!(
        stage.status(&path()).await,
        json!({"conditions": suspended, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}})
    );
    stage.pass(60).await;
    stage
        .patch(&path(), &json!({"spec": {"suspend": false}}))
        .await;
    let status = stage.status(&path()).await;
    assert_eq!(status["active"], json!(1));
    assert_eq!(
        status["conditions"],
        json!([{"type": "Suspended", "status": "False", "reason": "JobResumed",
            "message": "Job resumed"}])
    );
    stage
        .patch(&path(), &json!({"spec": {"suspend": true}}))
        .await;
    assert_eq!(stage.pods(), Vec::<String>::new());
    assert_eq!(stage.status(&path()).await["conditions"], suspended);
    assert_eq!(
        stage.events("Job"),
        [
            "Normal Suspended Job suspended x2",
            "Normal SuccessfulCreate Created pod: j-*",
            "Normal Resumed Job resumed",
            "Normal SuccessfulDelete Deleted pod: j-*",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_pods_and_a_ttl_the_job() {
    let stage = Stage::new();
    let spec = json!({"activeDeadlineSeconds": 5, "ttlSecondsAfterFinished": 20});
    stage.post(JOBS, &job(&spec)).await;
    stage.pass(5).await;
    let status = stage.status(&path()).await;
    assert_eq!(
        (&status["failed"], &status["conditions"][1]["reason"]),
        (&json!(1), &json!("DeadlineExceeded"))
    );
    assert_eq!(stage.pods(), Vec::<String>::new());
    stage.pass(19).await;
    assert_eq!(stage.get(&path()).await["kind"], json!("Job"));
    stage.pass(2).await;
    assert_eq!(stage.get(&path()).await["reason"], json!("NotFound"));
}

#[tokio::test(start_paused = true)]
async fn a_policy_decides_which_failures_count() {
    let stage = Stage::new();
    let spec = json!({"backoffLimit": 0, "podFailurePolicy": {"rules": [
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42], "containerName": "c"}}]}});
    stage.post(JOBS, &job(&spec)).await;
    stage.end(&live(&stage)[0], "Failed", 7).await;
    assert_eq!(stage.status(&path()).await.get("failed"), None);
    stage.pass(30).await;
    let pod = live(&stage)[0].clone();
    stage.end(&pod, "Failed", 42).await;
    let status = stage.status(&path()).await;
    assert_eq!(status["conditions"][1]["reason"], json!("PodFailurePolicy"));
    assert_eq!(
        status["conditions"][1]["message"],
        json!(format!(
            "Container c for pod default/{pod} failed with exit code 42 matching FailJob rule at index 1"
        ))
    );
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_job_that_goes_are_let_go() {
    let stage = Stage::new();
    stage
        .post(JOBS, &job(&json!({"parallelism": 2, "completions": 2})))
        .await;
    assert_eq!(stage.pods().len(), 2);
    stage.delete(&path()).await;
    // An answer without a policy lets pods of Jobs live on, as it always did.
    let policy = json!({"propagationPolicy": "Background"});
    crate::support::delete(&stage.server, &path(), &policy).await;
    crate::removal::settle().await;
    for pod in stage.pods() {
        assert_eq!(stage.pod(&pod)["metadata"].get("finalizers"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cron_job_starts_jobs_by_the_clock_and_keeps_a_short_history() {
    let mut stage = Stage::new();
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cj"},
        "spec": {"schedule": "*/5 * * * *", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"metadata": {"labels": {"l": "m"}}, "spec": {"template": template()}}}});
    stage.post(CRONS, &cron).await;
    let cj = format!("{CRONS}/cj");
    assert_eq!(stage.status(&cj).await, json!({}));
    // It is 03:04:05.
    stage.pass(56).await;
    let jobs = stage.get(JOBS).await;
    let first = &jobs["items"][0]["metadata"];
    assert_eq!(first["name"], json!("cj-29455385"));
    assert_eq!(
        first["annotations"],
        json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-02T03:05:00Z"})
    );
    assert_eq!(first["labels"]["l"], json!("m"));
    let status = stage.get(&cj).await["status"].clone();
    assert_eq!(status["lastScheduleTime"], json!("2026-01-02T03:05:00Z"));
    assert_eq!(status["active"][0]["name"], json!("cj-29455385"));
    // The next one waits for it.
    stage.pass(300).await;
    assert_eq!(
        stage.get(JOBS).await["items"].as_array().map(Vec::len),
        Some(1)
    );
    for round in 0..3 {
        let pod = live(&stage)[0].clone();
        stage.end(&pod, "Succeeded", 0).await;
        if round == 1 {
            stage.restart();
        }
        stage.pass(300).await;
    }
    let names: Vec<Value> = stage.get(JOBS).await["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|j| j["metadata"]["name"].clone())
        .collect();
    // One that is over is kept, beside the one that runs.
    assert_eq!(names.len(), 2, "{names:?}");
    let events = stage.events("CronJob");
    assert_eq!(events[0], "Normal SuccessfulCreate Created job cj-29455385");
    // Told again at each change of the Job that is waited for.
    assert!(
        events[1].starts_with("Normal JobAlreadyActive Not starting job because prior execution is running and concurrency policy is Forbid"),
        "{events:?}"
    );
    assert_eq!(
        events[2],
        "Normal SawCompletedJob Saw completed job: cj-29455385, condition: Complete"
    );
    assert!(!stage.get(&cj).await["status"]["lastSuccessfulTime"].is_null());
}

#[tokio::test(start_paused = true)]
async fn schedules_that_cannot_be_read_or_were_missed_are_told() {
    let stage = Stage::new();
    let cron = |name: &str, schedule: &str| {
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": schedule, "startingDeadlineSeconds": 10, "suspend": name == "late",
            "jobTemplate": {"spec": {"template": template()}}}})
    };
    stage.post(CRONS, &cron("never", "59 23 31 2 *")).await;
    stage.post(CRONS, &cron("late", "* * * * *")).await;
    stage.pass(85).await;
    stage
        .patch(
            &format!("{CRONS}/late"),
            &json!({"spec": {"suspend": false}}),
        )
        .await;
    assert_eq!(
        stage.events("CronJob"),
        [
            "Warning InvalidSchedule invalid schedule: 59 23 31 2 * : time difference between two \
          schedules is less than 1 second"
        ]
    );
    assert_eq!(stage.get(JOBS).await["items"], json!([]));
    stage.pass(60).await;
    assert_eq!(
        stage.get(JOBS).await["items"].as_array().map(Vec::len),
        Some(1)
    );
}
