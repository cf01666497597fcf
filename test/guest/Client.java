// Client URL...: what java.net.http gets, one after the other and all at once.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;

class Client {
	static final HttpClient client = HttpClient.newHttpClient();

	static CompletableFuture<String> get(String url) {
		return client.sendAsync(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofString())
			.handle((answer, error) -> url + " " + (error == null ? answer.body().strip() : root(error)));
	}

	static Throwable root(Throwable error) {
		return error.getCause() == null ? error : root(error.getCause());
	}

	public static void main(String[] urls) {
		for (String url : urls)
			System.out.println(get(url).join());
		Stream.of(urls).map(Client::get).toList().forEach(f -> System.out.println("at once: " + f.join()));
	}
}
