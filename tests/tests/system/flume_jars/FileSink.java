package com.example.flume;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.apache.flume.Channel;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.EventDeliveryException;
import org.apache.flume.Transaction;
import org.apache.flume.conf.Configurable;
import org.apache.flume.sink.AbstractSink;

/**
 * Appends lines to a file, a batch in each transaction. Each third transaction with events is rolled
 * back before it has written anything.
 */
public class FileSink extends AbstractSink implements Configurable {
  private String path;
  private int batchSize;
  private long pause;
  private int transactions;
  private FileChannel file;

  @Override
  public void configure(Context context) {
    path = context.getString("path");
    batchSize = context.getInteger("batchSize", 10);
    pause = context.getLong("pause", 0L);
  }

  @Override
  public synchronized void start() {
    try {
      file = FileChannel.open(Path.of(path), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    super.start();
  }

  @Override
  public Status process() throws EventDeliveryException {
    Channel channel = getChannel();
    Transaction transaction = channel.getTransaction();
    transaction.begin();
    try {
      List<Event> events = new ArrayList<>();
      while (events.size() < batchSize) {
        Event event = channel.take();
        if (event == null) {
          break;
        }
        events.add(event);
      }
      if (!events.isEmpty() && ++transactions % 3 == 0) {
        throw new IOException("the disk is busy");
      }
      StringBuilder lines = new StringBuilder();
      for (Event event : events) {
        lines.append(event.getHeaders().get("timestamp")).append(' ');
        lines.append(new String(event.getBody(), StandardCharsets.UTF_8)).append('\n');
      }
      file.write(ByteBuffer.wrap(lines.toString().getBytes(StandardCharsets.UTF_8)));
      transaction.commit();
      Thread.sleep(pause);
      return events.isEmpty() ? Status.BACKOFF : Status.READY;
    } catch (IOException | InterruptedException error) {
      transaction.rollback();
      throw new EventDeliveryException("cannot write " + path, error);
    } finally {
      transaction.close();
    }
  }

  @Override
  public synchronized void stop() {
    try {
      file.close();
    } catch (IOException ignored) {
      // It is append-only.
    }
    super.stop();
  }
}
