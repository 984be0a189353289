package com.example.flume;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.event.EventBuilder;
import org.apache.flume.serialization.EventDeserializer;
import org.apache.flume.serialization.ResettableInputStream;

/** Reads paragraphs, which end with an empty line. Their lines are joined by a text. */
public class Paragraphs implements EventDeserializer {
  private final ResettableInputStream in;
  private final String between;

  private Paragraphs(String between, ResettableInputStream in) {
    this.between = between;
    this.in = in;
  }

  @Override
  public Event readEvent() throws IOException {
    StringBuilder paragraph = new StringBuilder();
    StringBuilder line = new StringBuilder();
    int next;
    while ((next = in.readChar()) != -1) {
      if (next != '\n') {
        line.append((char) next);
      } else if (line.length() > 0) {
        paragraph.append(paragraph.length() > 0 ? between : "").append(line);
        line.setLength(0);
      } else if (paragraph.length() > 0) {
        break;
      }
    }
    paragraph.append(line);
    return paragraph.length() == 0 ? null
        : EventBuilder.withBody(paragraph.toString(), StandardCharsets.UTF_8);
  }

  @Override
  public List<Event> readEvents(int most) throws IOException {
    List<Event> events = new ArrayList<>();
    Event event;
    while (events.size() < most && (event = readEvent()) != null) {
      events.add(event);
    }
    return events;
  }

  @Override
  public void mark() throws IOException {
    in.mark();
  }

  @Override
  public void reset() throws IOException {
    in.reset();
  }

  @Override
  public void close() throws IOException {
    in.close();
  }

  /** Named by `deserializer`. */
  public static class Builder implements EventDeserializer.Builder {
    @Override
    public EventDeserializer build(Context context, ResettableInputStream in) {
      return new Paragraphs(context.getString("between", " "), in);
    }
  }
}
