//! Log lines of a failing sink: immediately for a new cause, occasionally for a known one.

use std::io;

use super::*;

/// A sink that cannot be opened, for each of these causes in turn, then always for the last one.
struct Failing(VecDeque<&'static str>);

#[async_trait]
impl Sink for Failing {
    async fn open(&mut self) -> Result<(), SinkError> {
        let cause = if self.0.len() > 1 { self.0.pop_front() } else { self.0.front().copied() };
        Err(Failure(ErrorClass::Transient, cause.unwrap()).into())
    }

    async fn write(&mut self, _taken: Taken) -> Result<(), SinkError> {
        unreachable!("it is never open")
    }

    async fn settled(&mut self) -> Settlement {
        std::future::pending().await
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The causes that were logged, in order.
    fn causes(&self, of: &[&'static str]) -> Vec<&'static str> {
        let text = String::from_utf8(locked(&self.0).clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("sink failed"));
        lines.filter_map(|line| of.iter().copied().find(|cause| line.contains(cause))).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn new_cause_of_a_failing_sink_is_logged_immediately() {
    pipeline::testkit::log_side_by_side();
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(lines.finish());
    let of = ["refused", "unreachable", "denied"];
    let causes = ["refused", "refused", "unreachable", "refused", "unreachable", "denied"];
    let sinks = vec![Box::new(Failing(causes.into())) as Box<dyn Sink>];
    use components::processors::single::Config;
    let letters = dead_letters::Config::default();
    let outlet = OutletBoard::default();
    let settings = json!({ "backoff_max": "1s" });
    let bench = start_sinks::<Config>(settings, sinks, letters, outlet).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(log.causes(&of), of, "each once within half a minute");
    sleep(Duration::from_secs(9 * 60)).await;
    assert_eq!(log.causes(&of), of, "the last one goes on");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.causes(&of)[3..], ["denied"], "and is said again after ten minutes");
    bench.stop().await;
}
