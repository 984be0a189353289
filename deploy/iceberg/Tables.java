// Reads and changes the table logs.web by Iceberg's HadoopCatalog, as Spark and Flink do:
//
//   java -cp 'JARS/*' Tables.java WAREHOUSE count       prints the rows and the changes
//   java -cp 'JARS/*' Tables.java WAREHOUSE files       prints the data files, if the table exists
//   java -cp 'JARS/*' Tables.java WAREHOUSE columns     prints the columns of the schema
//   java -cp 'JARS/*' Tables.java WAREHOUSE change N    sets a property of the table N times

import java.util.HashSet;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.FileScanTask;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.hadoop.HadoopCatalog;
import org.apache.iceberg.io.CloseableIterable;

public class Tables {
    public static void main(String[] arguments) throws Exception {
        HadoopCatalog catalog = new HadoopCatalog(new Configuration(), arguments[0]);
        TableIdentifier name = TableIdentifier.of("logs", "web");
        boolean lists = arguments[1].equals("files");
        if (lists && !catalog.tableExists(name)) {
            return;
        }
        Table table = catalog.loadTable(name);
        if (arguments[1].equals("change")) {
            for (int change = 1; change <= Integer.parseInt(arguments[2]); change++) {
                table.updateProperties()
                    .set("commit.retry.num-retries", "1000")
                    .set("changes", String.valueOf(change))
                    .commit();
                Thread.sleep(50);
            }
            return;
        }
        if (arguments[1].equals("columns")) {
            table.schema().columns().forEach(System.out::println);
            return;
        }
        long rows = 0;
        Set<String> paths = new HashSet<>();
        try (CloseableIterable<FileScanTask> files = table.newScan().planFiles()) {
            for (FileScanTask file : files) {
                rows += file.file().recordCount();
                if (!paths.add(file.file().location())) {
                    throw new IllegalStateException(file.file().location() + " is in it twice");
                }
            }
        }
        if (lists) {
            paths.forEach(System.out::println);
            return;
        }
        System.out.println(rows + " rows, " + table.properties().get("changes") + " changes");
    }
}
