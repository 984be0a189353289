// A node of Solr by itself, without a distribution:
//
//   Server DIRECTORY PORT [KEYS PASSWORD]
//
// Its cores are the folders of DIRECTORY with a `core.properties`. With a file of keys (PKCS 12) it speaks TLS alone.

import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.solr.client.solrj.embedded.SSLConfig;
import org.apache.solr.embedded.JettyConfig;
import org.apache.solr.embedded.JettySolrRunner;

public final class Server {
    public static void main(String[] arguments) throws Exception {
        JettyConfig.Builder config = JettyConfig.builder().setPort(Integer.parseInt(arguments[1]));
        if (arguments.length > 2) {
            System.setProperty("jetty.testMode", "true"); // without it the settings of TLS are passed over
            String keys = arguments[2], password = arguments[3];
            config.useOnlyHttp1(true); // what it offers by ALPN otherwise is no protocol (`HTTP/1.1`)
            config.withSSLConfig(new SSLConfig(true, false, keys, password, keys, password));
        }
        new JettySolrRunner(arguments[0], new Properties(), config.build()).start();
        new CountDownLatch(1).await();
    }
}
