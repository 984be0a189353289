package aqueduct.flume;

import java.util.ArrayList;
import java.util.List;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.interceptor.Interceptor;
import org.apache.flume.interceptor.InterceptorBuilderFactory;

/**
 * An interceptor. The agent wants a result for each event, and Flume has a list of events: an event
 * that the class has created belongs to the last event before it, so that the order stays.
 *
 * <p>If the class throws an exception, the agent repeats the batch as Flume does. With
 * `--refuse-failed` each event passes alone then, and those that fail become dead letters.
 */
final class Interceptors implements Bridge.Role {
  private final Connection connection;
  private final Interceptor interceptor;
  private final boolean refusesFailed;
  private final Wire.Writer answer = new Wire.Writer();
  private final Wire.Writer result = new Wire.Writer();

  Interceptors(Connection connection, String type, Context context, List<String> arguments)
      throws Exception {
    this.connection = connection;
    refusesFailed = arguments.contains("--refuse-failed");
    Interceptor.Builder builder = InterceptorBuilderFactory.newInstance(type);
    builder.configure(context);
    interceptor = builder.build();
    interceptor.initialize();
  }

  @Override
  public void batch(Wire.Batch batch) throws Exception {
    answer.reset();
    answer.number(1, batch.number);
    try {
      results(batch.events, interceptor.intercept(new ArrayList<Event>(batch.events)));
    } catch (RuntimeException failure) {
      if (!refusesFailed) {
        throw failure;
      }
      answer.reset();
      answer.number(1, batch.number);
      for (AgentEvent event : batch.events) {
        alone(event.renewed());
      }
    }
    connection.write(Bridge.INTERCEPTED, answer);
  }

  private void alone(AgentEvent event) {
    List<Event> one = new ArrayList<>(List.of(event));
    try {
      results(List.of(event), interceptor.intercept(one));
    } catch (RuntimeException failure) {
      result.reset();
      result.number(1, event.index).text(4, Bridge.reason(failure));
      answer.message(2, result);
    }
  }

  /** Writes a result for each event of the batch. */
  private void results(List<AgentEvent> batch, List<Event> kept) {
    int next = 0;
    List<Event> all = kept == null ? List.of() : kept;
    for (int at = 0; at < batch.size(); at++) {
      int begin = next;
      // Takes its own event and new ones, up to an event with a later place.
      while (next < all.size() && !isLater(all.get(next), batch, at)) {
        next++;
      }
      result(batch.get(at), all.subList(begin, next));
    }
  }

  /** Returns whether an event is one of the batch after this place. */
  private static boolean isLater(Event event, List<AgentEvent> batch, int at) {
    return event instanceof AgentEvent own && own.index > batch.get(at).index;
  }

  private void result(AgentEvent event, List<Event> events) {
    result.reset();
    result.number(1, event.index);
    if (events.size() == 1 && events.get(0) == event && event.isUnchanged()) {
      result.number(3, 1);
    } else {
      for (Event made : events) {
        if (made != null) {
          result.event(2, made);
        }
      }
    }
    answer.message(2, result);
  }

  @Override
  public void close() {
    interceptor.close();
  }
}
