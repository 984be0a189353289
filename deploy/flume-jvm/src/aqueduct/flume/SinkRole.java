package aqueduct.flume;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.flume.ChannelException;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.EventDeliveryException;
import org.apache.flume.Sink;
import org.apache.flume.channel.BasicChannelSemantics;
import org.apache.flume.channel.BasicTransactionSemantics;
import org.apache.flume.conf.Configurables;
import org.apache.flume.sink.DefaultSinkFactory;

/**
 * A sink, run as by Flume's runner, with a channel that has the events of one request of the agent.
 *
 * <pre>
 *   Batch ─► open ─ take ─► held by a transaction ─ commit ─► Settled: these delivered, rest untried
 *              ▲                    │ rollback
 *              └────────────────────┘    process() ends without a commit ─► Settled: retry
 * </pre>
 *
 * A commit is answered before it returns, so that a virtual machine that is killed later repeats no
 * committed event. The agent sends the untried events with its next request.
 */
final class SinkRole extends BasicChannelSemantics implements Bridge.Role {
  private static final int DELIVERED = 0;
  private static final int RETRY = 1;
  private static final int UNTRIED = 3;
  /** How long `take` waits for events. */
  private static final long TAKE_MS = 1000;
  /** Pause after a failure without events. */
  private static final long PAUSE_MS = 1000;
  /** Calls of `process` that do not take an event, until the agent pauses. */
  private static final int IDLE_MAX = 3;

  private final Connection connection;
  private final Sink sink;
  private final Thread loop;

  // The state of the current request, guarded by this.
  private Wire.Batch request;
  private final Deque<AgentEvent> open = new ArrayDeque<>();
  private final Set<AgentEvent> delivered = new HashSet<>();
  /** Events that transactions hold. */
  private int held;
  /** Whether an event of the request was taken. */
  private boolean isTried;
  /** Whether events were committed since the last call of `process`. */
  private boolean hasCommitted;
  private boolean isClosed;
  private TakeTransaction ofLoop;

  SinkRole(Connection connection, String name, String type, Context context) {
    this.connection = connection;
    setName("aqueduct");
    sink = new DefaultSinkFactory().create(name, type);
    Configurables.configure(sink, context);
    sink.setChannel(this);
    loop = new Thread(this::run, "sink-" + name);
    sink.start();
    loop.start();
  }

  @Override
  public synchronized void batch(Wire.Batch batch) {
    request = batch;
    open.addAll(batch.events);
    isTried = false;
    notifyAll();
  }

  private void run() {
    int idle = 0;
    try {
      while (!isClosed()) {
        String reason;
        boolean isReady = false;
        try {
          Sink.Status status = sink.process();
          isReady = status == Sink.Status.READY;
          reason = "the sink returned " + status + " and has committed no event";
        } catch (EventDeliveryException | RuntimeException failure) {
          reason = Bridge.reason(failure);
          System.err.println(reason);
        }
        idle = settleRest(reason, isReady, idle);
      }
    } catch (Throwable failure) {
      Bridge.fail(connection, failure);
    }
  }

  private synchronized boolean isClosed() {
    return isClosed;
  }

  /** Asks for another attempt after a call of `process` without a commit. */
  private synchronized int settleRest(String reason, boolean isReady, int idle) throws Exception {
    boolean hasCommitted = this.hasCommitted;
    this.hasCommitted = false;
    if (isClosed) {
      return 0;
    }
    if (ofLoop != null && ofLoop.isOpen) {
      throw new IllegalStateException("the sink did not close its transaction: " + reason);
    }
    if (hasCommitted) {
      return 0;
    }
    if (request == null) {
      if (!isReady) {
        wait(PAUSE_MS);
      }
      return 0;
    }
    // Other threads of the sink have events.
    while (held > 0 && !isClosed) {
      wait();
    }
    boolean isLeft = request != null && !isClosed;
    if (!isLeft || !isTried && idle < IDLE_MAX) {
      return idle + 1;
    }
    settle(RETRY, reason);
    return 0;
  }

  /** Answers the request; `verdict` is for the events that are not delivered. */
  private void settle(int verdict, String reason) throws IOException {
    Wire.Writer answer = new Wire.Writer();
    answer.number(1, request.number);
    List<AgentEvent> events = request.events;
    for (int first = 0; first < events.size();) {
      boolean isDelivered = delivered.contains(events.get(first));
      int after = first + 1;
      while (after < events.size() && delivered.contains(events.get(after)) == isDelivered) {
        after++;
      }
      Wire.Writer outcome = new Wire.Writer();
      outcome.number(1, events.get(first).index).number(2, events.get(after - 1).index);
      outcome.number(3, isDelivered ? DELIVERED : verdict);
      if (!isDelivered) {
        outcome.text(4, reason);
      }
      answer.message(2, outcome);
      first = after;
    }
    request = null;
    open.clear();
    delivered.clear();
    notifyAll();
    connection.write(Bridge.SETTLED, answer);
  }

  private synchronized AgentEvent take(TakeTransaction by) throws InterruptedException {
    long until = System.nanoTime() + TAKE_MS * 1_000_000;
    // A transaction with events is committed without waiting for more.
    while (open.isEmpty() && by.events.isEmpty() && !isClosed) {
      long left = (until - System.nanoTime()) / 1_000_000;
      if (left <= 0) {
        return null;
      }
      wait(left);
    }
    // A commit waits for the other transactions.
    if (open.isEmpty() || !delivered.isEmpty() || isClosed) {
      return null;
    }
    isTried = true;
    held++;
    return open.remove();
  }

  private synchronized void commit(TakeTransaction by) throws InterruptedException {
    if (by.events.isEmpty()) {
      return;
    }
    if (isClosed) {
      throw new ChannelException("the agent has stopped before the commit");
    }
    Wire.Batch answered = request;
    hasCommitted = true;
    delivered.addAll(by.events);
    held -= by.events.size();
    by.events.clear();
    try {
      if (held == 0) {
        settle(UNTRIED, "");
      }
      while (request == answered && !isClosed) {
        wait();
      }
    } catch (IOException closed) {
      throw new ChannelException("the agent has stopped before the commit", closed);
    }
    if (request == answered) {
      throw new ChannelException("the agent has stopped before the commit");
    }
  }

  private synchronized void rollback(TakeTransaction by) throws InterruptedException {
    for (int at = by.events.size() - 1; at >= 0; at--) {
      open.addFirst(by.events.get(at));
    }
    held -= by.events.size();
    by.events.clear();
    notifyAll();
    try {
      if (held == 0 && !delivered.isEmpty()) {
        settle(UNTRIED, "");
      }
    } catch (IOException closed) {
      throw new ChannelException("the agent has stopped", closed);
    }
  }

  @Override
  protected BasicTransactionSemantics createTransaction() {
    TakeTransaction made = new TakeTransaction();
    if (Thread.currentThread() == loop) {
      ofLoop = made;
    }
    return made;
  }

  private final class TakeTransaction extends BasicTransactionSemantics {
    final List<AgentEvent> events = new ArrayList<>();
    boolean isOpen;

    @Override
    protected void doBegin() {
      isOpen = true;
    }

    @Override
    protected void doPut(Event event) {
      throw new ChannelException("a sink puts no events");
    }

    @Override
    protected Event doTake() throws InterruptedException {
      AgentEvent event = SinkRole.this.take(this);
      if (event != null) {
        events.add(event);
      }
      return event;
    }

    @Override
    protected void doCommit() throws InterruptedException {
      SinkRole.this.commit(this);
    }

    @Override
    protected void doRollback() throws InterruptedException {
      SinkRole.this.rollback(this);
    }

    @Override
    protected void doClose() {
      isOpen = false;
    }
  }

  @Override
  public void close() {
    synchronized (this) {
      isClosed = true;
      notifyAll();
    }
    try {
      loop.join(1000);
    } catch (InterruptedException ignored) {
      // Stops now.
    }
    sink.stop();
  }
}
