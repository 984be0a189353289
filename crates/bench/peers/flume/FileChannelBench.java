import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

import org.apache.flume.Channel;
import org.apache.flume.Context;
import org.apache.flume.Event;
import org.apache.flume.Transaction;
import org.apache.flume.channel.file.FileChannel;
import org.apache.flume.conf.Configurables;
import org.apache.flume.event.EventBuilder;

/**
 * Flume's file channel alone: producers that commit transactions of the given number of events, each
 * of them synced, and one consumer that keeps up.
 *
 * Arguments: directory, producers, events of a transaction, bytes of a body, seconds of warm-up,
 * seconds.
 * Prints the events that were committed in the measured time, and its seconds.
 */
public final class FileChannelBench {
    private static final AtomicBoolean DONE = new AtomicBoolean();
    private static final AtomicLong TAKEN = new AtomicLong();

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        int producers = Integer.parseInt(args[1]);
        int events = Integer.parseInt(args[2]);
        byte[] body = new byte[Integer.parseInt(args[3])];
        for (int at = 0; at < body.length; at++) {
            body[at] = (byte) ('a' + at * 7 % 26);
        }
        FileChannel channel = new FileChannel();
        channel.setName("bench");
        Context context = new Context(Map.of(
            "checkpointDir", dir.resolve("checkpoint").toString(),
            "dataDirs", dir.resolve("data").toString(),
            "transactionCapacity", Integer.toString(events)));
        Configurables.configure(channel, context);
        channel.start();
        Thread consumer = new Thread(() -> consume(channel, events));
        consumer.start();
        ExecutorService threads = Executors.newFixedThreadPool(producers);
        long put = produceAll(threads, producers, channel, events, body, Double.parseDouble(args[4]));
        long started = System.nanoTime();
        long measured =
            produceAll(threads, producers, channel, events, body, Double.parseDouble(args[5]));
        double seconds = (System.nanoTime() - started) / 1e9;
        while (TAKEN.get() < put + measured) {
            Thread.sleep(5);
        }
        DONE.set(true);
        consumer.join();
        channel.stop();
        System.out.println(measured + " " + seconds);
        System.exit(0);
    }

    private static long produceAll(ExecutorService threads, int producers, Channel channel,
            int events, byte[] body, double seconds) throws Exception {
        Callable<Long> task = () -> produce(channel, events, body, seconds);
        long put = 0;
        for (Future<Long> one : threads.invokeAll(Collections.nCopies(producers, task))) {
            put += one.get();
        }
        return put;
    }

    private static long produce(Channel channel, int events, byte[] body, double seconds) {
        Map<String, String> headers =
            Map.of("host", "web-1.example.net", "file", "/var/log/nginx/access.log");
        long until = System.nanoTime() + (long) (seconds * 1e9);
        long put = 0;
        while (System.nanoTime() < until) {
            Transaction transaction = channel.getTransaction();
            transaction.begin();
            for (int n = 0; n < events; n++) {
                channel.put(EventBuilder.withBody(body, headers));
            }
            transaction.commit();
            transaction.close();
            put += events;
        }
        return put;
    }

    private static void consume(Channel channel, int events) {
        while (!DONE.get()) {
            Transaction transaction = channel.getTransaction();
            transaction.begin();
            int taken = 0;
            while (taken < events) {
                Event event = channel.take();
                if (event == null) {
                    break;
                }
                taken++;
            }
            transaction.commit();
            transaction.close();
            TAKEN.addAndGet(taken);
        }
    }
}
