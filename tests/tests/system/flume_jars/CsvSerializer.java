package com.example.flume;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStream;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.serialization.EventSerializer;

/** Writes a table with a header, numbered rows, and the number of rows as its end. Buffers rows. */
public class CsvSerializer implements EventSerializer {
  private final BufferedWriter out;
  private final String field;
  private int rows;

  private CsvSerializer(String field, OutputStream out) {
    this.out = new BufferedWriter(new OutputStreamWriter(out, StandardCharsets.UTF_8));
    this.field = field;
  }

  @Override
  public void afterCreate() throws IOException {
    out.write("row," + field + ",body\n");
  }

  @Override
  public void afterReopen() throws IOException {
    throw new IOException("it cannot be reopened");
  }

  @Override
  public void write(Event event) throws IOException {
    String body = new String(event.getBody(), StandardCharsets.UTF_8);
    String quoted = "\"" + body.replace("\"", "\"\"") + "\"";
    out.write(++rows + "," + event.getHeaders().get(field) + "," + quoted + "\n");
  }

  @Override
  public void flush() throws IOException {
    out.flush();
  }

  @Override
  public void beforeClose() throws IOException {
    out.write("rows," + rows + ",\n");
    out.flush();
  }

  @Override
  public boolean supportsReopen() {
    return false;
  }

  /** Named by `serializer`. */
  public static class Builder implements EventSerializer.Builder {
    @Override
    public EventSerializer build(Context context, OutputStream out) {
      return new CsvSerializer(context.getString("field", "host"), out);
    }
  }
}
