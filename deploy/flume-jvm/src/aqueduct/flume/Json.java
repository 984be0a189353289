package aqueduct.flume;

import java.util.Map;
import java.util.StringJoiner;
import java.util.TreeMap;

/**
 * Reads a JSON object as properties of Flume: values of nested objects get names with dots, and
 * lists become words.
 */
final class Json {
  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  static Map<String, String> properties(String text) {
    Map<String, String> all = new TreeMap<>();
    Json json = new Json(text);
    json.expect('{');
    json.object("", all);
    return all;
  }

  /** Reads an object after its brace. */
  private void object(String prefix, Map<String, String> all) {
    if (peek() == '}') {
      at++;
      return;
    }
    do {
      expect('"');
      String name = prefix + string();
      expect(':');
      if (peek() == '{') {
        at++;
        object(name + ".", all);
      } else {
        String value = value();
        if (value != null) {
          all.put(name, value);
        }
      }
    } while (separated('}'));
  }

  private String value() {
    char first = peek();
    if (first == '"') {
      at++;
      return string();
    }
    if (first == '[') {
      at++;
      StringJoiner words = new StringJoiner(" ");
      if (peek() == ']') {
        at++;
        return "";
      }
      do {
        words.add(String.valueOf(value()));
      } while (separated(']'));
      return words.toString();
    }
    int begin = at;
    while (at < text.length() && ",]} \n\r\t".indexOf(text.charAt(at)) < 0) {
      at++;
    }
    String word = text.substring(begin, at);
    return word.equals("null") ? null : word;
  }

  /** Returns whether another value follows, and not the end of the list. */
  private boolean separated(char end) {
    char next = peek();
    at++;
    if (next != ',' && next != end) {
      throw new IllegalArgumentException("the settings are not JSON at character " + at);
    }
    return next == ',';
  }

  /** Reads a string after its first quote. */
  private String string() {
    StringBuilder plain = new StringBuilder();
    while (true) {
      char next = text.charAt(at++);
      if (next == '"') {
        return plain.toString();
      }
      if (next != '\\') {
        plain.append(next);
        continue;
      }
      char escaped = text.charAt(at++);
      switch (escaped) {
        case 'b' -> plain.append('\b');
        case 'f' -> plain.append('\f');
        case 'n' -> plain.append('\n');
        case 'r' -> plain.append('\r');
        case 't' -> plain.append('\t');
        case 'u' -> {
          plain.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
          at += 4;
        }
        default -> plain.append(escaped);
      }
    }
  }

  private char peek() {
    while (Character.isWhitespace(text.charAt(at))) {
      at++;
    }
    return text.charAt(at);
  }

  private void expect(char expected) {
    if (peek() != expected) {
      throw new IllegalArgumentException("the settings are not JSON at character " + at);
    }
    at++;
  }
}
