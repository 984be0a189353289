package aqueduct.flume;

import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.UUID;
import org.apache.flume.ChannelException;
import org.apache.flume.ChannelSelector;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.Source;
import org.apache.flume.SourceRunner;
import org.apache.flume.channel.BasicChannelSemantics;
import org.apache.flume.channel.BasicTransactionSemantics;
import org.apache.flume.channel.ChannelProcessor;
import org.apache.flume.channel.ReplicatingChannelSelector;
import org.apache.flume.conf.Configurables;
import org.apache.flume.source.DefaultSourceFactory;

/**
 * A source, run by Flume's own runner into a channel whose commit returns when the agent has stored
 * the events. So the class acknowledges its input after that, as with a file channel.
 *
 * <pre>
 *   source ─ commit ─► waiting ─ Next, Produced ─► sent ─ Next ─► stored: commit returns
 * </pre>
 */
final class SourceRole extends BasicChannelSemantics implements Bridge.Role {
  /** Memory of an event or a header besides its texts, as the contract counts it. */
  private static final int VALUE_BYTES = 32;

  private final Connection connection;
  private final SourceRunner runner;
  private final Wire.Writer answer = new Wire.Writer();
  /** Positions of this process begin with it. Where the source resumes is up to the class. */
  private final String process = UUID.randomUUID().toString();
  private long positions;

  /** A transaction that waits for the agent. */
  private static final class Put {
    final List<Event> events;
    int sent;
    boolean isStored;

    Put(List<Event> events) {
      this.events = events;
    }
  }

  /** Transactions with events that were not sent yet. All of these fields are guarded by this. */
  private final Deque<Put> waiting = new ArrayDeque<>();
  /** Transactions whose last event is in the answer that the agent stores. */
  private final List<Put> sent = new ArrayList<>();
  private boolean isClosed;

  SourceRole(Connection connection, String name, String type, Context context) {
    this.connection = connection;
    setName("aqueduct");
    Source source = new DefaultSourceFactory().create(name, type);
    Configurables.configure(source, context);
    ChannelSelector selector = new ReplicatingChannelSelector();
    selector.setChannels(List.of(this));
    selector.configure(new Context());
    source.setChannelProcessor(new ChannelProcessor(selector));
    runner = SourceRunner.forSource(source);
    runner.start();
  }

  @Override
  public void next(Wire.Reader request) throws Exception {
    long number = 0;
    long eventsMax = 1;
    long bytesMax = 0;
    long waitMs = 0;
    while (request.next()) {
      switch (request.field) {
        case 1 -> number = request.value;
        case 2 -> eventsMax = request.value;
        case 3 -> bytesMax = request.value;
        case 4 -> waitMs = request.value;
        default -> { }
      }
    }
    answer.reset();
    answer.number(1, number);
    if (collect(eventsMax, bytesMax, waitMs)) {
      String position = process + ":" + ++positions;
      answer.data(3, position.getBytes(StandardCharsets.US_ASCII));
    }
    connection.write(Bridge.PRODUCED, answer);
  }

  /** Ends stored transactions, and adds events to the answer; returns whether there are some. */
  private synchronized boolean collect(long eventsMax, long bytesMax, long waitMs)
      throws InterruptedException {
    sent.forEach(put -> put.isStored = true);
    sent.clear();
    notifyAll();
    long until = System.nanoTime() + waitMs * 1_000_000;
    while (waiting.isEmpty() && !isClosed) {
      long left = (until - System.nanoTime()) / 1_000_000;
      if (left <= 0) {
        return false;
      }
      wait(left);
    }
    long events = 0;
    long bytes = 0;
    while (!waiting.isEmpty() && events < eventsMax) {
      Put put = waiting.peek();
      Event event = put.events.get(put.sent);
      bytes += bytes(event);
      if (events > 0 && bytes > bytesMax) {
        break;
      }
      answer.event(2, event);
      events++;
      put.sent++;
      if (put.sent == put.events.size()) {
        sent.add(waiting.remove());
      }
    }
    return events > 0;
  }

  private static long bytes(Event event) {
    long bytes = VALUE_BYTES + (event.getBody() == null ? 0 : event.getBody().length);
    if (event.getHeaders() != null) {
      for (var header : event.getHeaders().entrySet()) {
        bytes += VALUE_BYTES + String.valueOf(header.getKey()).length();
        bytes += String.valueOf(header.getValue()).length();
      }
    }
    return bytes;
  }

  /** Waits until the agent has stored these events. */
  private synchronized void store(List<Event> events) throws InterruptedException {
    Put put = new Put(events);
    waiting.add(put);
    notifyAll();
    while (!put.isStored) {
      if (isClosed) {
        throw new ChannelException("the agent stops and has not stored the events");
      }
      wait();
    }
  }

  @Override
  protected BasicTransactionSemantics createTransaction() {
    return new PutTransaction();
  }

  private final class PutTransaction extends BasicTransactionSemantics {
    private List<Event> events = new ArrayList<>();

    @Override
    protected void doPut(Event event) {
      events.add(event);
    }

    @Override
    protected Event doTake() {
      throw new ChannelException("a source takes no events");
    }

    @Override
    protected void doCommit() throws InterruptedException {
      if (!events.isEmpty()) {
        store(events);
      }
    }

    @Override
    protected void doRollback() {
      events = new ArrayList<>();
    }
  }

  @Override
  public void close() {
    synchronized (this) {
      isClosed = true;
      notifyAll();
    }
    runner.stop();
  }
}
