package com.example.flume;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.event.EventBuilder;
import org.apache.flume.interceptor.Interceptor;

/** Interceptors in the shapes that users of Flume write. */
public final class Interceptors {
  private Interceptors() {}

  /** An interceptor of single events. */
  abstract static class Base implements Interceptor {
    @Override
    public void initialize() {}

    @Override
    public List<Event> intercept(List<Event> events) {
      for (Event event : events) {
        intercept(event);
      }
      return events;
    }

    @Override
    public void close() {}
  }

  static String text(Event event) {
    return new String(event.getBody(), StandardCharsets.UTF_8);
  }

  /** Takes the time of an event from a field of its JSON. */
  public static class Time extends Base {
    private final String field;

    Time(String field) {
      this.field = field;
    }

    @Override
    public Event intercept(Event event) {
      JsonObject json = new JsonParser().parse(text(event)).getAsJsonObject();
      event.getHeaders().put("timestamp", json.get(field).getAsString());
      return event;
    }

    /** Its builder. */
    public static class Builder implements Interceptor.Builder {
      private String field;

      @Override
      public Interceptor build() {
        return new Time(field);
      }

      @Override
      public void configure(Context context) {
        field = context.getString("json.field");
      }
    }
  }

  /** Removes events whose body contains a word, by the iterator of the list. */
  public static class Filter extends Base {
    private final String word;

    Filter(String word) {
      this.word = word;
    }

    @Override
    public Event intercept(Event event) {
      return text(event).contains(word) ? null : event;
    }

    @Override
    public List<Event> intercept(List<Event> events) {
      Iterator<Event> all = events.iterator();
      while (all.hasNext()) {
        if (intercept(all.next()) == null) {
          all.remove();
        }
      }
      return events;
    }

    /** Its builder. */
    public static class Builder implements Interceptor.Builder {
      private String word;

      @Override
      public Interceptor build() {
        return new Filter(word);
      }

      @Override
      public void configure(Context context) {
        word = context.getString("word");
      }
    }
  }

  /** Makes several events of one, in a new list. */
  public static class Split extends Base {
    @Override
    public Event intercept(Event event) {
      return event;
    }

    @Override
    public List<Event> intercept(List<Event> events) {
      List<Event> parts = new ArrayList<>();
      for (Event event : events) {
        for (String part : text(event).split("\\|")) {
          parts.add(EventBuilder.withBody(part, StandardCharsets.UTF_8, event.getHeaders()));
        }
      }
      return parts;
    }

    /** Its builder. */
    public static class Builder implements Interceptor.Builder {
      @Override
      public Interceptor build() {
        return new Split();
      }

      @Override
      public void configure(Context context) {}
    }
  }

  /** Fails for a body, so that the batch is repeated. */
  public static class Failing extends Base {
    @Override
    public Event intercept(Event event) {
      if (text(event).equals("poison")) {
        throw new IllegalStateException("the body is poison");
      }
      return event;
    }

    /** Its builder. */
    public static class Builder implements Interceptor.Builder {
      @Override
      public Interceptor build() {
        return new Failing();
      }

      @Override
      public void configure(Context context) {}
    }
  }
}
