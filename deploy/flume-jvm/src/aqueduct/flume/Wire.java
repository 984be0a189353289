package aqueduct.flume;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flume.Event;

/** Decodes and encodes the messages of proto/plugin/v1/plugin.proto. */
final class Wire {
  private Wire() {}

  /** Reads the fields of a message. */
  static final class Reader {
    final byte[] bytes;
    private int at;
    private final int end;
    /** Number of the field that `next` has found. */
    int field;
    /** Value of a field with a number; length of another one. */
    long value;

    Reader(byte[] bytes, int begin, int end) {
      this.bytes = bytes;
      this.at = begin;
      this.end = end;
    }

    /** Finds the next field; returns whether there is one. */
    boolean next() {
      if (at >= end) {
        return false;
      }
      long key = varint();
      field = (int) (key >>> 3);
      switch ((int) (key & 7)) {
        case 0 -> value = varint();
        case 1 -> at += 8;
        case 2 -> {
          value = varint();
          at += (int) value;
        }
        case 5 -> at += 4;
        default -> throw new IllegalArgumentException("wire type " + (key & 7));
      }
      return true;
    }

    /** Returns the text of the field that `next` has found. */
    String text() {
      return new String(bytes, at - (int) value, (int) value, StandardCharsets.UTF_8);
    }

    byte[] data() {
      return Arrays.copyOfRange(bytes, at - (int) value, at);
    }

    Reader message() {
      return new Reader(bytes, at - (int) value, at);
    }

    /** Adds the numbers of the field that `next` has found. */
    void numbers(List<Long> all) {
      for (Reader packed = message(); packed.at < packed.end;) {
        all.add(packed.varint());
      }
    }

    private long varint() {
      long whole = 0;
      for (int shift = 0; shift < 64; shift += 7) {
        byte next = bytes[at++];
        whole |= (long) (next & 0x7f) << shift;
        if (next >= 0) {
          return whole;
        }
      }
      throw new IllegalArgumentException("a number has more than 64 bits");
    }
  }

  /** Writes the fields of a message. */
  static final class Writer extends ByteArrayOutputStream {
    /** Names of headers repeat, so their encoded forms are kept. */
    private static final int NAMES_MAX = 1024;

    private final Map<String, byte[]> names = new HashMap<>();

    Writer() {
      super(64 << 10);
    }

    Writer number(int field, long value) {
      if (value != 0) {
        varint((long) field << 3);
        varint(value);
      }
      return this;
    }

    /** Writes a list of numbers below 2^21. */
    Writer numbers(int field, Iterable<Integer> values) {
      int length = 0;
      for (int value : values) {
        length += value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : 3;
      }
      length(field, length);
      values.forEach(this::varint);
      return this;
    }

    Writer text(int field, String value) {
      return data(field, value.getBytes(StandardCharsets.UTF_8));
    }

    Writer data(int field, byte[] value) {
      length(field, value.length);
      write(value, 0, value.length);
      return this;
    }

    /** Writes the key and the length of a message, text or byte string. */
    void length(int field, int length) {
      varint((long) field << 3 | 2);
      varint(length);
    }

    /** Writes what another writer has. */
    Writer message(int field, Writer message) {
      length(field, message.count);
      write(message.buf, 0, message.count);
      return this;
    }

    /** Writes an event with all of its headers. */
    void event(int field, Event event) {
      byte[] body = event.getBody() == null ? new byte[0] : event.getBody();
      Map<String, String> headers = event.getHeaders() == null ? Map.of() : event.getHeaders();
      byte[][] encoded = new byte[headers.size() * 2][];
      int used = 0;
      int length = sized(body.length);
      for (Map.Entry<String, String> header : headers.entrySet()) {
        if (header.getKey() == null || header.getValue() == null) {
          continue;
        }
        encoded[used] = name(header.getKey());
        encoded[used + 1] = header.getValue().getBytes(StandardCharsets.UTF_8);
        length += sized(sized(encoded[used].length) + sized(encoded[used + 1].length));
        used += 2;
      }
      length(field, length);
      data(1, body);
      for (int at = 0; at < used; at += 2) {
        length(2, sized(encoded[at].length) + sized(encoded[at + 1].length));
        data(1, encoded[at]);
        data(2, encoded[at + 1]);
      }
    }

    private byte[] name(String name) {
      if (names.size() > NAMES_MAX) {
        names.clear();
      }
      return names.computeIfAbsent(name, it -> it.getBytes(StandardCharsets.UTF_8));
    }

    /** Returns the bytes of a field with this many bytes; the numbers of all fields are small. */
    private static int sized(int length) {
      int bytes = 2;
      for (int rest = length; rest > 0x7f; rest >>>= 7) {
        bytes++;
      }
      return bytes + length;
    }

    private void varint(long value) {
      while ((value & ~0x7fL) != 0) {
        write((int) (value & 0x7f | 0x80));
        value >>>= 7;
      }
      write((int) value);
    }

    byte[] buffer() {
      return buf;
    }
  }

  /** The next events of a file. */
  static final class Encode {
    Batch batch = new Batch();
    long file;
    boolean ends;
    final List<Long> dropped = new ArrayList<>();

    Encode(Reader message) {
      while (message.next()) {
        switch (message.field) {
          case 1 -> batch = new Batch(message.message());
          case 2 -> file = message.value;
          case 3 -> ends = message.value != 0;
          case 4 -> message.numbers(dropped);
          default -> { }
        }
      }
    }
  }

  /** A request of the agent with events. */
  static final class Batch {
    long number;
    final List<AgentEvent> events = new ArrayList<>();

    Batch() {}

    Batch(Reader message) {
      Reader first = new Reader(message.bytes, message.at, message.end);
      List<String> shared = new ArrayList<>();
      while (first.next()) {
        if (first.field == 1) {
          number = first.value;
        } else if (first.field == 3) {
          header(first.message(), shared);
        }
      }
      while (message.next()) {
        if (message.field == 2) {
          events.add(event(message.message(), shared));
        }
      }
    }

    private static AgentEvent event(Reader message, List<String> shared) {
      int index = 0;
      byte[] body = new byte[0];
      int bodyAt = 0;
      List<String> headers = new ArrayList<>(shared);
      while (message.next()) {
        switch (message.field) {
          case 1 -> {
            body = message.data();
            bodyAt = message.at - body.length;
          }
          case 2 -> header(message.message(), headers);
          case 3 -> index = (int) message.value;
          default -> { }
        }
      }
      return new AgentEvent(index, body, headers, message.bytes, bodyAt);
    }

    private static void header(Reader message, List<String> headers) {
      String name = "";
      String value = "";
      while (message.next()) {
        if (message.field == 1) {
          name = message.text();
        } else if (message.field == 2) {
          value = message.text();
        }
      }
      headers.add(name);
      headers.add(value);
    }
  }
}
