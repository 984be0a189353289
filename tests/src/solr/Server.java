// A node of Solr by itself, without a distribution:
//
//   Server DIRECTORY PORT
//
// Its cores are the folders of DIRECTORY with a `core.properties`.

import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.solr.embedded.JettyConfig;
import org.apache.solr.embedded.JettySolrRunner;

public final class Server {
    public static void main(String[] arguments) throws Exception {
        JettyConfig config = JettyConfig.builder().setPort(Integer.parseInt(arguments[1])).build();
        new JettySolrRunner(arguments[0], new Properties(), config).start();
        new CountDownLatch(1).await();
    }
}
