package aqueduct.flume;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flume.event.SimpleEvent;

/** An event of the agent. It knows whether a Flume class has changed it. */
final class AgentEvent extends SimpleEvent {
  /** Its index in its batch. */
  final int index;
  /** Names and values of its headers, in turn, as they came. */
  private final List<String> original;
  /** The frame that it came in, and the beginning of its body there. */
  private final byte[] frame;
  private final int bodyAt;
  private final int bodyLength;

  AgentEvent(int index, byte[] body, List<String> headers, byte[] frame, int bodyAt) {
    this.index = index;
    this.original = headers;
    this.frame = frame;
    this.bodyAt = bodyAt;
    this.bodyLength = body.length;
    setBody(body);
    Map<String, String> all = new HashMap<>(headers.size());
    for (int at = 0; at < headers.size(); at += 2) {
      all.put(headers.get(at), headers.get(at + 1));
    }
    setHeaders(all);
  }

  /** Returns the event as it came, for another attempt. */
  AgentEvent renewed() {
    byte[] body = Arrays.copyOfRange(frame, bodyAt, bodyAt + bodyLength);
    return new AgentEvent(index, body, original, frame, bodyAt);
  }

  boolean isUnchanged() {
    Map<String, String> headers = getHeaders();
    if (headers == null || headers.size() != original.size() / 2) {
      return false;
    }
    for (int at = 0; at < original.size(); at += 2) {
      if (!original.get(at + 1).equals(headers.get(original.get(at)))) {
        return false;
      }
    }
    byte[] body = getBody();
    int end = bodyAt + bodyLength;
    return body != null && Arrays.equals(frame, bodyAt, end, body, 0, body.length);
  }
}
