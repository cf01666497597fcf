/* What Java says of each name: a line for each, addresses sorted. */
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Arrays;

class Resolve {
	private static String addresses(String name) {
		try {
			return Arrays.stream(InetAddress.getAllByName(name))
				.map(InetAddress::getHostAddress).sorted().toList().toString();
		} catch (UnknownHostException e) {
			return e.getMessage();
		}
	}

	public static void main(String[] names) {
		for (String name : names)
			System.out.println(name + ": " + addresses(name));
	}
}
