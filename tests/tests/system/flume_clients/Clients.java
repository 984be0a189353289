import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.function.IntConsumer;
import org.apache.flume.Event;
import org.apache.flume.EventDeliveryException;
import org.apache.flume.FlumeException;
import org.apache.flume.api.RpcClient;
import org.apache.flume.api.RpcClientFactory;
import org.apache.flume.client.avro.AvroCLIClient;
import org.apache.flume.clients.log4jappender.Log4jAppender;
import org.apache.flume.event.EventBuilder;
import org.apache.logging.log4j.ThreadContext;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.config.Configurator;

/**
 * Every client of Flume that an application may have, as it is: each sends its events to agents on
 * this machine. All in one virtual machine, for its start is what takes time.
 *
 * <pre>
 *   send DIR EVENTS FIRST SECOND THRIFT   ports of two Avro sources and of a Thrift source
 *   cut DIR NAME CALLS EVENTS PORT TYPE   calls of so many events, each sent until it is answered OK;
 *                                         TYPE: of the client
 * </pre>
 */
public final class Clients {
    /** Events of a call. */
    private static final int BATCH = 10;

    private static Path dir;
    private static int events;

    private Clients() {}

    public static void main(String[] arguments) throws Exception {
        dir = Path.of(arguments[1]);
        if (arguments[0].equals("cut")) {
            int calls = Integer.parseInt(arguments[3]);
            events = Integer.parseInt(arguments[4]);
            cut(arguments[2], calls, properties(arguments[6], "127.0.0.1:" + arguments[5]));
        } else {
            events = Integer.parseInt(arguments[2]);
            String first = "127.0.0.1:" + arguments[3];
            String second = "127.0.0.1:" + arguments[4];
            rpc("default", properties("default", first), batch -> {});
            rpc("deflate", deflate(first), batch -> {});
            rpc("thrift", properties("thrift", "127.0.0.1:" + arguments[5]), batch -> {});
            avroClient(arguments[3]);
            log4j1(arguments[3]);
            log4j2(arguments[3]);
            rpc("load_balance", balanced(first, second), batch -> {});
            // The test kills the first agent after the fifth call, and says so by a file.
            rpc("failover", properties("default_failover", first, second), batch -> {
                if (batch == 5) {
                    say("the first agent may be killed");
                    await(dir.resolve("killed"));
                }
            });
        }
        say("all is sent");
        // Netty's threads would keep the virtual machine alive for a while.
        System.exit(0);
    }

    private static void say(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private static void await(Path file) {
        while (!Files.exists(file)) {
            try {
                Thread.sleep(10);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    private static Properties properties(String type, String... hosts) {
        Properties properties = new Properties();
        properties.setProperty("client.type", type);
        properties.setProperty("batch-size", Integer.toString(BATCH));
        StringBuilder names = new StringBuilder();
        for (int n = 0; n < hosts.length; n++) {
            names.append(names.length() == 0 ? "" : " ").append("h").append(n);
            properties.setProperty("hosts.h" + n, hosts[n]);
        }
        properties.setProperty("hosts", names.toString());
        return properties;
    }

    private static Properties deflate(String host) {
        Properties properties = properties("default", host);
        properties.setProperty("compression-type", "deflate");
        return properties;
    }

    private static Properties balanced(String... hosts) {
        Properties properties = properties("default_loadbalance", hosts);
        properties.setProperty("host-selector", "round_robin");
        properties.setProperty("backoff", "true");
        return properties;
    }

    /** What the n-th event of a client says. */
    private static String body(String client, int n) {
        return client + " " + n + " Z\u00fcrich \ud83d\ude00";
    }

    private static Event event(String client, int n) {
        Event event = EventBuilder.withBody(body(client, n), StandardCharsets.UTF_8);
        event.getHeaders().put("client", client);
        event.getHeaders().put("n", Integer.toString(n));
        event.getHeaders().put("stra\u00dfe", "\u20ac " + n % 3);
        return event;
    }

    /** All events of a client, the first ten by `append`, the others by `appendBatch`. */
    private static void rpc(String client, Properties properties, IntConsumer before)
            throws EventDeliveryException {
        RpcClient rpc = RpcClientFactory.getInstance(properties);
        for (int n = 0; n < BATCH; n++) {
            rpc.append(event(client, n));
        }
        for (int n = BATCH; n < events; n += BATCH) {
            before.accept(n / BATCH);
            List<Event> batch = new ArrayList<>();
            for (int at = n; at < n + BATCH; at++) {
                batch.add(event(client, at));
            }
            rpc.appendBatch(batch);
        }
        rpc.close();
        say(client + ": done");
    }

    /** {@code flume-ng avro-client}: the lines of a file, with headers of another file. */
    private static void avroClient(String port) throws Exception {
        List<String> lines = new ArrayList<>();
        for (int n = 0; n < events; n++) {
            lines.add(body("avro-client", n));
        }
        Path file = Files.write(dir.resolve("lines"), lines);
        Path headers = Files.writeString(dir.resolve("headers"), "client = avro-client\nn = -\n");
        AvroCLIClient.main(new String[] {
            "-H", "127.0.0.1", "-p", port, "-F", file.toString(), "-R", headers.toString()
        });
        say("avro-client: done");
    }

    private static void log4j1(String port) {
        Log4jAppender appender = new Log4jAppender("127.0.0.1", Integer.parseInt(port));
        appender.setLayout(new org.apache.log4j.PatternLayout("%m"));
        appender.activateOptions();
        org.apache.log4j.Logger logger = org.apache.log4j.Logger.getLogger("shop.log4j1");
        logger.setAdditivity(false);
        logger.addAppender(appender);
        for (int n = 0; n < events; n++) {
            logger.warn(body("log4j1", n));
        }
        appender.close();
        say("log4j1: done");
    }

    private static void log4j2(String port) throws Exception {
        String text = String.join("\n",
            "<Configuration status='warn'><Appenders>",
            "<Flume name='flume' type='Avro' compress='false' batchSize='" + BATCH + "'",
            "       ignoreExceptions='false' mdcPrefix=''>",
            "<Agent host='127.0.0.1' port='" + port + "'/><PatternLayout pattern='%m'/>",
            "</Flume></Appenders><Loggers><Root level='off'/>",
            "<Logger name='shop.log4j2' level='info' additivity='false'>",
            "<AppenderRef ref='flume'/></Logger></Loggers></Configuration>");
        File file = Files.writeString(dir.resolve("clients-log4j2.xml"), text).toFile();
        LoggerContext context = Configurator.initialize("clients", null, file.toURI());
        org.apache.logging.log4j.Logger logger = context.getLogger("shop.log4j2");
        for (int n = 0; n < events; n++) {
            ThreadContext.put("client", "log4j2");
            ThreadContext.put("n", Integer.toString(n));
            logger.info(body("log4j2", n));
        }
        Configurator.shutdown(context);
        say("log4j2: done");
    }

    /** Calls one after the other, each on a new connection until it is answered OK. */
    private static void cut(String name, int calls, Properties properties) throws Exception {
        RpcClient rpc = null;
        int tries = 0;
        for (int call = 0; call < calls; call++) {
            List<Event> batch = new ArrayList<>();
            for (int n = 0; n < events; n++) {
                batch.add(event(name, call * events + n));
            }
            boolean isSent = false;
            while (!isSent) {
                tries++;
                try {
                    if (rpc == null) {
                        rpc = RpcClientFactory.getInstance(properties);
                    }
                    rpc.appendBatch(batch);
                    isSent = true;
                } catch (EventDeliveryException | FlumeException e) {
                    if (rpc != null) {
                        rpc.close();
                    }
                    rpc = null;
                }
            }
        }
        rpc.close();
        say("tries: " + tries);
    }
}
